// Checks for the test programs: each prints what failed and where, and the program ends with 1.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            std::fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition);   \
            std::exit(1);                                                                   \
        }                                                                                   \
    } while (false)

#define CHECK_EQUAL(left, right)                                                            \
    do {                                                                                    \
        const auto left_ = (left);                                                          \
        const auto right_ = (right);                                                        \
        if (!(left_ == right_)) {                                                           \
            std::ostringstream text_;                                                       \
            text_ << #left << " is " << left_ << ", and " << #right << " is " << right_;    \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, text_.str().c_str());   \
            std::exit(1);                                                                   \
        }                                                                                   \
    } while (false)

// The expression throws mahtrt::Error with this status, and its text holds `part`.
#define CHECK_REFUSED(expression, wanted, part)                                             \
    do {                                                                                    \
        bool refused_ = false;                                                              \
        try {                                                                               \
            (void)(expression);                                                             \
        } catch (const mahtrt::Error& error_) {                                             \
            refused_ = true;                                                                \
            CHECK_EQUAL(error_.status(), wanted);                                           \
            if (std::string(error_.what()).find(part) == std::string::npos) {               \
                std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, error_.what());     \
                std::exit(1);                                                               \
            }                                                                               \
        }                                                                                   \
        CHECK(refused_);                                                                    \
    } while (false)

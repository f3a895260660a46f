// The exception of the library. It never leaves it: api.cpp turns it into a status and a text.
#pragma once

#include <stdexcept>
#include <string>

#include "mahtrt.h"

namespace mahtrt {

class Error : public std::runtime_error {
  public:
    Error(mahtrt_status status, const std::string& message)
        : std::runtime_error(message), status_(status) {}

    mahtrt_status status() const noexcept { return status_; }

  private:
    mahtrt_status status_;
};

// A message in the form that all of mahtrt's have: what is wrong, what was got, what was expected
// and what to do. Parts that are empty are left out.
std::string sentence(const std::string& subject, const std::string& got,
                     const std::string& expected, const std::string& fix = "");

// A text for a message: in quotes, unprintable bytes as \xNN, cut where it is long.
std::string quoted(const std::string& text);

}  // namespace mahtrt

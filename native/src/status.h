// The border between the library and its callers: errors become statuses, structs are copied in
// and out by the size that the caller gave.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>

#include "error.h"
#include "mahtrt.h"

namespace mahtrt {

// Keeps a text for mahtrt_last_error(), of the calling thread, as UTF-8. Allocates nothing.
void remember_error(const char* text) noexcept;
const char* remembered_error() noexcept;

// The status of the exception that is being handled, whose text is remembered.
mahtrt_status status_of_exception() noexcept;

// While it lives, pthread_cancel on this thread waits: unwinding it through C++ ends the process.
class Uncancelled {
  public:
    Uncancelled() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
    Uncancelled(const Uncancelled&) = delete;
    Uncancelled& operator=(const Uncancelled&) = delete;
    ~Uncancelled() { pthread_setcancelstate(before_, nullptr); }

  private:
    int before_ = PTHREAD_CANCEL_ENABLE;
};

// Runs a function of a caller; whatever it throws becomes a status and a text.
template <typename Work>
mahtrt_status guarded(Work&& work) noexcept {
    const Uncancelled uncancelled;
    try {
        work();
        return MAHTRT_OK;
    } catch (...) {
        return status_of_exception();
    }
}

// Throws Error MAHTRT_USAGE.
[[noreturn]] void refuse(const std::string& subject, const std::string& got,
                         const std::string& expected, const std::string& fix = "");
[[noreturn]] void refuse_null(const char* name);
[[noreturn]] void refuse_size(const char* name, std::size_t size, std::size_t least);

template <typename Pointer>
Pointer* given(Pointer* pointer, const char* name) {
    if (pointer == nullptr) refuse_null(name);
    return pointer;
}

constexpr std::size_t kMostStruct = 4096;  // bytes; more is memory that nobody has set

// Bytes of each struct in the first version of the interface: the least that a caller can know.
// These never change; a struct that grows keeps serving programs that were compiled before.
template <typename Struct>
constexpr std::size_t kFirstBytes = 0;
template <>
inline constexpr std::size_t kFirstBytes<mahtrt_options> = 48;
template <>
inline constexpr std::size_t kFirstBytes<mahtrt_input> = 96;
template <>
inline constexpr std::size_t kFirstBytes<mahtrt_output> = 72;
template <>
inline constexpr std::size_t kFirstBytes<mahtrt_image> = 56;
template <>
inline constexpr std::size_t kFirstBytes<mahtrt_placement> = 40;
template <>
inline constexpr std::size_t kFirstBytes<mahtrt_landmark> = 44;
template <>
inline constexpr std::size_t kFirstBytes<mahtrt_tensor> = 40;
static_assert(sizeof(void*) == 8, "The sizes are those of 64-bit machines.");

// How many bytes of a struct the caller knows. Struct is that of this library.
template <typename Struct>
std::size_t known_bytes(std::size_t size, const char* name) {
    constexpr std::size_t least = kFirstBytes<Struct>;
    static_assert(least > 0 && least <= sizeof(Struct));
    if (size < least || size > kMostStruct) refuse_size(name, size, least);
    return std::min(size, sizeof(Struct));
}

// A struct of the caller, with defaults for fields that it does not know.
template <typename Struct>
Struct taken(const Struct* struct_of_caller, const char* name) {
    Struct copy{};
    std::size_t size = 0;
    std::memcpy(&size, given(struct_of_caller, name), sizeof size);
    std::memcpy(&copy, struct_of_caller, known_bytes<Struct>(size, name));
    copy.size = sizeof copy;
    return copy;
}

// Writes a struct to the caller's, whose size stays.
template <typename Struct>
void hand_out(const Struct& value, Struct* struct_of_caller, const char* name) {
    std::size_t size = 0;
    std::memcpy(&size, given(struct_of_caller, name), sizeof size);
    const std::size_t known = known_bytes<Struct>(size, name);
    std::memcpy(reinterpret_cast<char*>(struct_of_caller) + sizeof size,
                reinterpret_cast<const char*>(&value) + sizeof size, known - sizeof size);
}

// What the _init functions do: the defaults, as far as the caller knows the fields.
template <typename Struct>
void initialise(Struct* struct_of_caller, std::size_t size, Struct value) noexcept {
    if (struct_of_caller == nullptr || size < sizeof(std::size_t)) return;
    std::memset(struct_of_caller, 0, size);
    value.size = size;
    std::memcpy(struct_of_caller, &value, std::min(size, sizeof value));
}

}  // namespace mahtrt

// libmahtrt for C++17: sessions that close themselves, and exceptions in place of statuses.
//
//     mahtrt::Session session("demo.mahtrt");
//     const auto found = session.run(mahtrt::Image(pixels, 1935, 2400, MAHTRT_GRAY8));
//
// Everything is inline over mahtrt.h, whose rules hold: a session may run in several threads.
#ifndef MAHTRT_HPP
#define MAHTRT_HPP

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mahtrt.h"

namespace mahtrt {

// What a call that failed had to say. status() is MAHTRT_FAILED, MAHTRT_BAD_IMAGE and so on.
class StatusError : public std::runtime_error {
  public:
    explicit StatusError(mahtrt_status status) : StatusError(status, mahtrt_last_error()) {}
    StatusError(mahtrt_status status, const char* text)
        : std::runtime_error(text), status_(status) {}

    mahtrt_status status() const noexcept { return status_; }

  private:
    mahtrt_status status_;
};

inline void check(mahtrt_status status) {
    if (status != MAHTRT_OK) throw StatusError(status);
}

struct Options : mahtrt_options {
    Options() noexcept { mahtrt_options_init(this, sizeof(mahtrt_options)); }
};

// Pixels of the caller, which have to outlive it.
struct Image : mahtrt_image {
    Image() noexcept { mahtrt_image_init(this, sizeof(mahtrt_image)); }
    Image(const void* pixels, std::int32_t wide, std::int32_t high, std::int32_t pixel_format,
          std::size_t bytes_of_row = 0) noexcept
        : Image() {
        data = pixels;
        width = wide;
        height = high;
        format = pixel_format;
        row_bytes = bytes_of_row;
    }
};

// The pixels of a PNG that lies in memory. Moves; does not copy.
class Picture {
  public:
    Picture(const void* png, std::size_t bytes) {
        check(mahtrt_png_read(png, bytes, nullptr, 0, &image_));
        pixels_.resize(image_.row_bytes * static_cast<std::size_t>(image_.height));
        check(mahtrt_png_read(png, bytes, pixels_.data(), pixels_.size(), &image_));
    }
    Picture(Picture&&) noexcept = default;
    Picture& operator=(Picture&&) noexcept = default;

    const Image& image() const noexcept { return image_; }

  private:
    Image image_;
    std::vector<unsigned char> pixels_;
};

// A bundle's engine that is open. Moves; does not copy. One that was moved from is empty.
class Session {
  public:
    explicit Session(const std::string& bundle, const Options& options = {}) {
        check(mahtrt_open(bundle.c_str(), &options, &handle_));
    }
    Session(Session&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Session& operator=(Session&& other) noexcept {
        Session taken(std::move(other));
        std::swap(handle_, taken.handle_);
        return *this;
    }
    ~Session() { mahtrt_close(handle_); }

    // For the functions of mahtrt.h that have no method here.
    mahtrt_session* handle() const noexcept { return handle_; }

    std::size_t inputs() const noexcept { return mahtrt_input_count(handle_); }
    std::size_t landmarks() const noexcept { return mahtrt_landmark_count(handle_); }
    std::string name(std::size_t landmark) const {
        return text(mahtrt_landmark_name(handle_, landmark));
    }
    std::string engine() const { return text(mahtrt_engine_name(handle_)); }
    std::string device() const { return text(mahtrt_device_name(handle_)); }

    // Of a network of one input.
    std::vector<mahtrt_landmark> run(const mahtrt_image& image) const {
        std::vector<mahtrt_landmark> found(landmarks());
        run(image, found);
        return found;
    }

    // Into memory of the caller: anything with data() and size(), as std::array and std::span.
    template <class Landmarks>
    void run(const mahtrt_image& image, Landmarks&& into) const {
        check(mahtrt_run(handle_, &image, into.data(), sizeof(mahtrt_landmark), into.size()));
    }

    // Several cases, or the images of one: one for each input of the network, case by case.
    template <class Images, class Landmarks>
    void run_batch(const Images& images, Landmarks&& into) const {
        check(mahtrt_run_batch(handle_, images.data(), images.size(), into.data(),
                               sizeof(mahtrt_landmark), into.size(), nullptr, 0));
    }

  private:
    static std::string text(const char* found) { return found == nullptr ? "" : found; }

    mahtrt_session* handle_ = nullptr;
};

}  // namespace mahtrt
#endif  // MAHTRT_HPP

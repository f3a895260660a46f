// A .mahtrt folder: its manifest, and its files, read once and checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "manifest.h"

namespace mahtrt {

// The bytes of a file in memory of this process, read-only, aligned to 64 bytes. A file that
// changes on disk afterwards changes nothing here. Moves; does not copy.
class Content {
  public:
    Content() = default;
    Content(Content&& other) noexcept;
    Content& operator=(Content&& other) noexcept;
    ~Content();

    const unsigned char* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::string_view text() const noexcept {
        return {reinterpret_cast<const char*>(data_), size_};
    }

    // Room for a file of so many bytes, to be filled by whoever makes it.
    static Content with_room(std::size_t size);
    unsigned char* room() noexcept { return data_; }

  private:
    unsigned char* data_ = nullptr;
    std::size_t size_ = 0;
};

class Bundle {
  public:
    // Opens the folder and reads its manifest. Files are opened relative to the folder's
    // descriptor, as regular files, and never through a symbolic link that leads out of it.
    // Throws Error: MAHTRT_FAILED, MAHTRT_INTEGRITY.
    static Bundle open(const std::string& path);

    Bundle(Bundle&& other) noexcept;
    Bundle& operator=(Bundle&& other) noexcept;
    ~Bundle();

    const std::string& path() const noexcept { return path_; }
    const Manifest& manifest() const noexcept { return manifest_; }

    // The file at a path of the manifest; its size always checked, its digest with `check`.
    // Throws Error: MAHTRT_INTEGRITY, MAHTRT_OUT_OF_MEMORY.
    Content read(const std::string& relative, bool check) const;

    // Size and digest of every file, and that there is no file that is not listed.
    void verify() const;

  private:
    Bundle() = default;

    std::string path_;
    int folder_ = -1;
    Manifest manifest_;
};

}  // namespace mahtrt

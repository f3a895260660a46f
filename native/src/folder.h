// A folder by its descriptor, and the regular files in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mahtrt {

// A file descriptor that is closed with its owner. Moves; does not copy.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int number) noexcept : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor();

    int number() const noexcept { return number_; }
    bool is_open() const noexcept { return number_ >= 0; }

  private:
    int number_ = -1;
};

// Opens a regular file for reading; symbolic links are followed as long as they stay in the
// folder. Where `relative` names a folder and `want_folder` is set, that is opened in its place.
// `problem` says in words why nothing was opened.
Descriptor open_in_folder(int folder, std::string_view relative, bool want_folder,
                          std::string& problem);

struct FolderEntry {
    std::string name;
    bool is_folder = false;  // and no link to one
};

// What a folder holds, without "." and "..", in the order of names. False where it cannot be read.
bool list_folder(int folder, std::vector<FolderEntry>& entries);

// What errno says, in words.
std::string system_reason(int number);

// Throws Error MAHTRT_FAILED with the system's reason.
[[noreturn]] void refuse_system(int number);

}  // namespace mahtrt

#include "folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

#include "error.h"

namespace mahtrt {
namespace {

constexpr int kMostLinks = 40;  // as many as Linux follows

// Why a part of a path is not what it should be. Throws Error MAHTRT_FAILED where the system had
// another reason, such as too many open files, which says nothing about the bundle.
std::string reason_of_absence(int number) {
    if (number == ENOENT || number == ENOTDIR || number == ELOOP) return system_reason(number);
    refuse_system(number);
}

// Walks a path part by part, so that a link can be judged before it is followed: a call that
// follows links by itself would have left the folder already.
class Walk {
  public:
    Walk(int folder, std::string& problem) : folder_(folder), problem_(problem) {}

    Descriptor open(std::string_view relative, bool want_folder) {
        push(relative);
        while (!parts_.empty()) {
            const std::string part = std::move(parts_.back());
            parts_.pop_back();
            const bool last = parts_.empty();
            if (part.empty() || part == ".") continue;
            if (part == "..") {
                if (opened_.empty()) return fail("a link that leads out of the bundle");
                opened_.pop_back();
                continue;
            }
            struct stat facts {};
            if (::fstatat(here(), part.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0)
                return fail(reason_of_absence(errno));
            if (S_ISLNK(facts.st_mode)) {
                if (!follow(part)) return {};
            } else if (last && !want_folder) {
                return open_file(part, facts);
            } else if (!enter(part)) {
                return {};
            }
        }
        if (!want_folder) return fail("a folder");
        Descriptor found(::openat(here(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        return found.is_open() ? std::move(found) : fail(reason_of_absence(errno));
    }

  private:
    Descriptor fail(const std::string& reason) {
        problem_ = reason;
        return {};
    }

    int here() const noexcept { return opened_.empty() ? folder_ : opened_.back().number(); }

    // The first part is the last of parts_.
    void push(std::string_view path) {
        const std::size_t before = parts_.size();
        for (std::size_t start = 0; start <= path.size();) {
            const std::size_t slash = std::min(path.find('/', start), path.size());
            parts_.emplace_back(path.substr(start, slash - start));
            start = slash + 1;
        }
        std::reverse(parts_.begin() + static_cast<std::ptrdiff_t>(before), parts_.end());
    }

    bool follow(const std::string& link) {
        char target[PATH_MAX];
        const ssize_t size = ::readlinkat(here(), link.c_str(), target, sizeof target);
        if (size < 0) return fail(reason_of_absence(errno)), false;
        if (size == 0 || target[0] == '/' || size == static_cast<ssize_t>(sizeof target))
            return fail("a link that leads out of the bundle"), false;
        if (++links_ > kMostLinks) return fail("links that lead to each other"), false;
        push({target, static_cast<std::size_t>(size)});
        return true;
    }

    bool enter(const std::string& name) {
#ifdef O_PATH
        constexpr int kAccess = O_PATH;  // a folder may allow to be passed and not to be read
#else
        constexpr int kAccess = O_RDONLY;
#endif
        Descriptor next(
            ::openat(here(), name.c_str(), kAccess | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!next.is_open()) return fail(reason_of_absence(errno)), false;
        opened_.push_back(std::move(next));
        return true;
    }

    // Looked at before, as opening a device can act on it, and after, as it may be another by then.
    Descriptor open_file(const std::string& name, const struct stat& before) {
        if (!S_ISREG(before.st_mode)) return fail(kind(before));
        constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
        Descriptor file(::openat(here(), name.c_str(), kFlags));
        struct stat facts {};
        if (!file.is_open() || ::fstat(file.number(), &facts) != 0)
            return fail(reason_of_absence(errno));
        return S_ISREG(facts.st_mode) ? std::move(file) : fail(kind(facts));
    }

    static std::string kind(const struct stat& facts) {
        if (S_ISDIR(facts.st_mode)) return "a folder";
        if (S_ISFIFO(facts.st_mode)) return "a FIFO";
        return S_ISSOCK(facts.st_mode) ? "a socket" : "a device";
    }

    int folder_;
    std::string& problem_;
    std::vector<std::string> parts_;
    std::vector<Descriptor> opened_;
    int links_ = 0;
};

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

Descriptor::~Descriptor() {
    if (number_ >= 0) ::close(number_);
}

Descriptor open_in_folder(int folder, std::string_view relative, bool want_folder,
                          std::string& problem) {
    return Walk(folder, problem).open(relative, want_folder);
}

bool list_folder(int folder, std::vector<FolderEntry>& entries) {
    const int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (again < 0) return false;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(again), ::closedir);
    if (!stream) return ::close(again), false;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        struct stat facts {};
        const bool known = ::fstatat(folder, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0;
        entries.push_back({name, known && S_ISDIR(facts.st_mode)});
        errno = 0;
    }
    if (errno != 0) return false;
    std::sort(entries.begin(), entries.end(),
              [](const FolderEntry& a, const FolderEntry& b) { return a.name < b.name; });
    return true;
}

void refuse_system(int number) {
    throw Error(MAHTRT_FAILED, sentence("reading a bundle", system_reason(number),
                                        "files that can be opened and read"));
}

std::string system_reason(int number) {
    return number == ENOENT ? "no such file" : std::strerror(number);
}

}  // namespace mahtrt

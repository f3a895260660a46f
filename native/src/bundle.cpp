#include "bundle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <utility>

#include "error.h"
#include "folder.h"
#include "json.h"
#include "sha256.h"

namespace mahtrt {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;  // what one read() asks for
constexpr std::size_t kPart = std::size_t{1} << 20;        // bytes of a file that is only hashed
constexpr const char *kManifest = "manifest.json", *kSignature = "model.sig";
constexpr const char* kRebuild =
    "Build the bundle again, or copy it again from where it was whole.";

[[noreturn]] void refuse(const std::string& subject, const std::string& got,
                         const std::string& expected) {
    throw Error(MAHTRT_INTEGRITY, sentence(subject, got, expected, kRebuild));
}

// Fills the room; how many bytes there were.
std::size_t read_whole(int file, unsigned char* room, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t got = ::read(file, room + done, std::min(size - done, kMostAtOnce));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) refuse_system(errno);
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return done;
}

Descriptor open_file(int folder, const std::string& relative, const std::string& subject,
                     const std::string& expected) {
    std::string problem;
    Descriptor file = open_in_folder(folder, relative, false, problem);
    if (!file.is_open()) refuse(subject, problem, expected);
    return file;
}

std::uint64_t size_of(const Descriptor& file) {
    struct stat facts {};
    if (::fstat(file.number(), &facts) != 0) refuse_system(errno);
    return static_cast<std::uint64_t>(facts.st_size);
}

Content read_content(const Descriptor& file, std::size_t size, const std::string& subject) {
    Content content = Content::with_room(size);
    if (read_whole(file.number(), content.room(), size) != size)
        refuse(subject, "a file that became shorter while it was read",
               std::to_string(size) + " bytes");
    return content;
}

// A file that is listed, open, of the size that it should have.
Descriptor open_listed(int folder, const FileRecord& record, const std::string& subject) {
    const std::string expected = std::to_string(record.size) + " bytes";
    Descriptor file = open_file(folder, record.path, subject, expected);
    const std::uint64_t size = size_of(file);
    if (size != record.size) refuse(subject, std::to_string(size) + " bytes", expected);
    return file;
}

void compare_digest(const std::string& digest, const FileRecord& record,
                    const std::string& subject) {
    if (digest != record.sha256) refuse(subject, "SHA-256 " + digest, record.sha256);
}

// Size and digest of a file, a part at a time.
void check_file(int folder, const FileRecord& record, const std::string& subject, Content& part) {
    const Descriptor file = open_listed(folder, record, subject);
    Sha256 digest;
    for (std::uint64_t left = record.size; left > 0;) {  // a file that grows has no end
        const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, part.size()));
        const std::size_t bytes = read_whole(file.number(), part.room(), wanted);
        if (bytes == 0) break;
        digest.add(part.data(), bytes);
        left -= bytes;
    }
    compare_digest(digest.hex(), record, subject);
}

// Tells an empty folder from one that has lost its manifest.
void check_is_bundle(int folder, const std::string& path) {
    struct stat facts {};
    if (::fstatat(folder, kManifest, &facts, AT_SYMLINK_NOFOLLOW) == 0) return;
    std::vector<FolderEntry> entries;
    if (list_folder(folder, entries) && entries.empty())
        throw Error(MAHTRT_FAILED, sentence(quoted(path), "an empty folder", "a mahtrt bundle"));
    refuse(quoted(path), "no manifest.json", "a mahtrt bundle");
}

Manifest manifest_of(int folder, const std::string& path) {
    const std::string place = path + "/" + kManifest;
    const Descriptor file = open_file(folder, kManifest, quoted(place), "a manifest");
    const std::uint64_t size = size_of(file);
    if (size > kMostJsonBytes)
        refuse(quoted(place), std::to_string(size) + " bytes",
               "at most " + std::to_string(kMostJsonBytes));
    const Content content = read_content(file, static_cast<std::size_t>(size), quoted(place));
    try {
        return read_manifest(content.text());
    } catch (const Error& error) {
        throw Error(error.status(), quoted(place) + ": " + error.what());
    }
}

// Looks at every file of a folder of the bundle; notes the folders in it.
void check_listed(int folder, const std::string& inside, const std::string& subject,
                  const std::set<std::string_view>& listed,
                  std::vector<std::string>& folders) {
    std::string problem;
    const Descriptor opened = open_in_folder(folder, inside, true, problem);
    std::vector<FolderEntry> entries;
    if (!opened.is_open() || !list_folder(opened.number(), entries))
        refuse(subject + ": " + quoted(inside), problem.empty() ? system_reason(errno) : problem,
               "a folder that can be read");
    for (const FolderEntry& entry : entries) {
        const std::string relative = inside.empty() ? entry.name : inside + "/" + entry.name;
        if (entry.is_folder) {
            folders.push_back(relative);
        } else if (listed.count(relative) == 0) {
            throw Error(MAHTRT_INTEGRITY,
                        sentence(subject, quoted(relative) + ", which the manifest does not list",
                                 "only what was built", "Move it out of the bundle."));
        }
    }
}

}  // namespace

Content::Content(Content&& other) noexcept { *this = std::move(other); }

Content& Content::operator=(Content&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Content::~Content() { std::free(data_); }

Content Content::with_room(std::size_t size) {
    Content content;
    const std::size_t rounded = (size / kAlignment + 1) * kAlignment;  // never nothing
    void* room = rounded > size ? std::aligned_alloc(kAlignment, rounded) : nullptr;
    if (room == nullptr)
        throw Error(MAHTRT_OUT_OF_MEMORY,
                    sentence("memory", "none", std::to_string(size) + " bytes for a file"));
    content.data_ = static_cast<unsigned char*>(room);
    content.size_ = size;
    return content;
}

Bundle::Bundle(Bundle&& other) noexcept { *this = std::move(other); }

Bundle& Bundle::operator=(Bundle&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(folder_, other.folder_);
    std::swap(manifest_, other.manifest_);
    return *this;
}

Bundle::~Bundle() {
    if (folder_ >= 0) ::close(folder_);
}

Bundle Bundle::open(const std::string& path) {
    Bundle bundle;
    bundle.path_ = path;
    bundle.folder_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (bundle.folder_ < 0) {
        const int reason = errno;
        const std::string got = reason == ENOENT    ? "nothing"
                                : reason == ENOTDIR ? "a file"
                                                    : system_reason(reason);
        throw Error(MAHTRT_FAILED, sentence(quoted(path), got, "a mahtrt bundle (a folder)",
                                            "Make one with: mahtrt build MODEL.onnx --out "
                                            "NAME.mahtrt"));
    }
    check_is_bundle(bundle.folder_, path);
    bundle.manifest_ = manifest_of(bundle.folder_, path);
    return bundle;
}

Content Bundle::read(const std::string& relative, bool check) const {
    const std::string subject = quoted(path_ + "/" + relative);
    const FileRecord* record = manifest_.file(relative);
    if (record == nullptr) refuse(subject, "a file that the manifest does not list", "");
    const Descriptor file = open_listed(folder_, *record, subject);
    Content content = read_content(file, static_cast<std::size_t>(record->size), subject);
    if (check) compare_digest(sha256_hex(content.data(), content.size()), *record, subject);
    return content;
}

void Bundle::verify() const {
    std::set<std::string_view> listed{kManifest, kSignature};
    for (const FileRecord& file : manifest_.files) listed.insert(file.path);
    std::vector<std::string> folders{""};
    while (!folders.empty()) {
        const std::string inside = std::move(folders.back());
        folders.pop_back();
        check_listed(folder_, inside, quoted(path_), listed, folders);
    }
    Content part = Content::with_room(kPart);
    for (const FileRecord& file : manifest_.files)
        check_file(folder_, file, quoted(path_ + "/" + file.path), part);
}

}  // namespace mahtrt

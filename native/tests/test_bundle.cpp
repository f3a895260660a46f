// Bundles on disk: files that are missing, changed, of another kind, elsewhere, or too many.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "bundle.h"
#include "check.h"
#include "error.h"
#include "tiny_manifest.h"

using namespace mahtrt;

namespace {

void write(const std::string& path, const std::string& content) {
    std::ofstream file(path, std::ios::binary);
    file << content;
    CHECK(file.good());
}

int remove_all(const std::string& path) { return std::system(("rm -rf '" + path + "'").c_str()); }

// A bundle of two files in a folder whose name has a space and a byte that is no UTF-8.
class Scratch {
  public:
    Scratch() {
        char made[] = "/tmp/mahtrt test \xff XXXXXX";
        CHECK(mkdtemp(made) != nullptr);
        root = made;
        path = root + "/a b.mahtrt";
        CHECK_EQUAL(mkdir(path.c_str(), 0777), 0);
        CHECK_EQUAL(mkdir((path + "/engines").c_str(), 0777), 0);
        write(path + "/model.onnx", "weights");
        write(path + "/engines/e.blob", "");
        const std::string files = tiny_file_record("model.onnx", "weights") + ", " +
                                  tiny_file_record("engines/e.blob", "");
        write(path + "/manifest.json", sealed(tiny_manifest(files)));
    }
    ~Scratch() { CHECK_EQUAL(remove_all(root), 0); }

    std::string root, path;
};

std::size_t open_descriptors() {
    std::size_t count = 0;
    DIR* folder = opendir("/proc/self/fd");
    while (folder != nullptr && readdir(folder) != nullptr) ++count;
    if (folder != nullptr) closedir(folder);
    return count;
}

void check_whole() {
    const Scratch scratch;
    Bundle opened = Bundle::open(scratch.path + "/");
    const Bundle bundle = std::move(opened);
    const Content content = bundle.read("model.onnx", true);
    CHECK(content.text() == "weights");
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(content.data()) % 64, std::uintptr_t{0});
    CHECK_EQUAL(bundle.read("engines/e.blob", true).size(), std::size_t{0});
    bundle.verify();
    write(scratch.path + "/model.sig", "signature");
    bundle.verify();
    write(scratch.path + "/engines/model.sig", "");
    CHECK_REFUSED(bundle.verify(), MAHTRT_INTEGRITY, "does not list");
    CHECK_REFUSED(bundle.read("other", true), MAHTRT_INTEGRITY, "does not list");
}

void check_changed() {
    const Scratch scratch;
    const Bundle bundle = Bundle::open(scratch.path);
    write(scratch.path + "/model.onnx", "Weights");
    CHECK_REFUSED(bundle.read("model.onnx", true), MAHTRT_INTEGRITY, "SHA-256");
    CHECK_REFUSED(bundle.verify(), MAHTRT_INTEGRITY, "model.onnx");
    CHECK(bundle.read("model.onnx", false).text() == "Weights");
    write(scratch.path + "/model.onnx", "weight");
    CHECK_REFUSED(bundle.read("model.onnx", false), MAHTRT_INTEGRITY, "6 bytes, expected 7 bytes");
    CHECK_EQUAL(unlink((scratch.path + "/model.onnx").c_str()), 0);
    CHECK_REFUSED(bundle.read("model.onnx", false), MAHTRT_INTEGRITY, "no such file");
    CHECK_EQUAL(mkfifo((scratch.path + "/model.onnx").c_str(), 0666), 0);
    CHECK_REFUSED(bundle.read("model.onnx", true), MAHTRT_INTEGRITY, "a FIFO");
    CHECK_EQUAL(unlink((scratch.path + "/model.onnx").c_str()), 0);
    CHECK_EQUAL(mkdir((scratch.path + "/model.onnx").c_str(), 0777), 0);
    CHECK_REFUSED(bundle.read("model.onnx", true), MAHTRT_INTEGRITY, "a folder");
}

void check_link(const Scratch& scratch, const char* target, const std::string& problem) {
    const std::string place = scratch.path + "/model.onnx";
    unlink(place.c_str());
    CHECK_EQUAL(symlink(target, place.c_str()), 0);
    const Bundle bundle = Bundle::open(scratch.path);
    if (problem.empty())
        CHECK(bundle.read("model.onnx", true).text() == "weights");
    else
        CHECK_REFUSED(bundle.read("model.onnx", true), MAHTRT_INTEGRITY, problem);
}

void check_links() {
    const Scratch scratch;
    const std::string inner = scratch.path + "/engines/w";
    write(inner, "weights");
    write(scratch.root + "/outside", "weights");
    check_link(scratch, "engines/w", "");
    check_link(scratch, "./engines/../engines//w", "");
    check_link(scratch, "../outside", "leads out");
    check_link(scratch, "engines/../../outside", "leads out");
    check_link(scratch, (scratch.root + "/outside").c_str(), "leads out");
    check_link(scratch, "model.onnx", "lead to each other");
    check_link(scratch, "engines", "a folder");
    check_link(scratch, "nothing", "no such file");
    // A folder of the bundle that is a link: out of it, then within it.
    CHECK_EQUAL(symlink("..", (scratch.path + "/up").c_str()), 0);
    check_link(scratch, "up/outside", "leads out");
    CHECK_EQUAL(symlink("engines", (scratch.path + "/again").c_str()), 0);
    check_link(scratch, "again/w", "");
    // verify does not walk through links, and takes them for files.
    CHECK_REFUSED(Bundle::open(scratch.path).verify(), MAHTRT_INTEGRITY, "does not list");
}

void check_no_bundle() {
    const Scratch scratch;
    CHECK_REFUSED(Bundle::open(scratch.path + "/nothing"), MAHTRT_FAILED, "got nothing");
    CHECK_REFUSED(Bundle::open(scratch.path + "/model.onnx"), MAHTRT_FAILED, "a file");
    CHECK_REFUSED(Bundle::open(""), MAHTRT_FAILED, "got nothing");
    CHECK_REFUSED(Bundle::open(scratch.root), MAHTRT_INTEGRITY, "no manifest.json");
    CHECK_EQUAL(mkdir((scratch.root + "/empty").c_str(), 0777), 0);
    CHECK_REFUSED(Bundle::open(scratch.root + "/empty"), MAHTRT_FAILED, "an empty folder");
    write(scratch.path + "/manifest.json", "{}");
    CHECK_REFUSED(Bundle::open(scratch.path), MAHTRT_INTEGRITY,
                  "manifest.json\": schema: got null");
    CHECK_EQUAL(truncate((scratch.path + "/manifest.json").c_str(), off_t{17} << 20), 0);
    CHECK_REFUSED(Bundle::open(scratch.path), MAHTRT_INTEGRITY, "at most 16777216");
    CHECK_EQUAL(unlink((scratch.path + "/manifest.json").c_str()), 0);
    CHECK_EQUAL(symlink("/dev/zero", (scratch.path + "/manifest.json").c_str()), 0);
    CHECK_REFUSED(Bundle::open(scratch.path), MAHTRT_INTEGRITY, "leads out");
}

void check_memory() {
    CHECK_REFUSED(Content::with_room(SIZE_MAX - 10), MAHTRT_OUT_OF_MEMORY, "memory");
    CHECK_EQUAL(Content::with_room(0).size(), std::size_t{0});
}

}  // namespace

int main() {
    const std::size_t before = open_descriptors();
    check_whole();
    check_changed();
    check_links();
    check_no_bundle();
    check_memory();
    CHECK_EQUAL(open_descriptors(), before);
    return 0;
}

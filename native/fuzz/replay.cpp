// Runs a fuzz target without libFuzzer: on every file of a folder, then on mutations of them that
// are the same in every run.
//
//     fuzz_png seeds/png 2000
#include <dirent.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

void run(const Bytes& bytes) {
    // A copy of exactly this size, so that a sanitizer sees a read behind the end.
    const Bytes exact(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

std::vector<std::string> names_in(const std::string& folder) {
    std::vector<std::string> names;
    DIR* stream = opendir(folder.c_str());
    if (stream == nullptr) return names;
    while (const dirent* entry = readdir(stream))
        if (entry->d_name[0] != '.') names.push_back(folder + "/" + entry->d_name);
    closedir(stream);
    std::sort(names.begin(), names.end());
    return names;
}

// A few bytes changed, taken out, or copied from elsewhere.
Bytes mutated(Bytes bytes, std::mt19937& random) {
    const std::size_t changes = 1 + random() % 4;
    for (std::size_t i = 0; i < changes && !bytes.empty(); ++i) {
        const std::size_t at = random() % bytes.size();
        const std::size_t length = std::min<std::size_t>(1 + random() % 16, bytes.size() - at);
        const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        const auto end = from + static_cast<std::ptrdiff_t>(length);
        const Bytes part(from, end);
        switch (random() % 5) {
            case 0:
                bytes[at] = static_cast<std::uint8_t>(random());
                break;
            case 1:
                bytes[at] ^= static_cast<std::uint8_t>(1u << random() % 8);
                break;
            case 2:
                bytes.erase(from, end);
                break;
            case 3: {
                const std::size_t to = random() % (bytes.size() + 1);
                bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(to), part.begin(),
                             part.end());
                break;
            }
            default:
                bytes.resize(at);
        }
    }
    return bytes;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) return std::fputs("usage: TARGET FOLDER MUTATIONS\n", stderr), 2;
    std::vector<Bytes> seeds;
    for (const std::string& name : names_in(arguments[1])) {
        std::ifstream file(name, std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
        run(seeds.back());
    }
    if (seeds.empty()) return std::fputs("no seeds\n", stderr), 1;
    std::mt19937 random(13);
    const long mutations = std::atol(arguments[2]);
    for (long i = 0; i < mutations; ++i) run(mutated(seeds[random() % seeds.size()], random));
    std::printf("%zu seeds, %ld mutations\n", seeds.size(), mutations);
    return 0;
}

// Landmarks of a PNG, as JSON; the sample in C does the same with PGM and without mahtrt.hpp.
//
//     landmarks_cpp BUNDLE IMAGE...      one image for each input of the network
//
//     c++ -std=c++17 landmarks.cpp -o landmarks_cpp $(pkg-config --cflags --libs mahtrt)
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mahtrt.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

mahtrt::Picture read_png(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string(path) + ": cannot be read");
    const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
    return {content.data(), content.size()};
}

// JSON has no NaN, which stands for what is not known. Nine digits give the same float back.
std::string number(float value) {
    if (std::isnan(value)) return "null";
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
    return text;
}

std::string quoted(const std::string& text) {
    std::string json = "\"";
    for (const char each : text) {
        if (each == '"' || each == '\\') json += '\\';
        json += each;
    }
    return json + '"';
}

std::string json(const mahtrt::Session& session, const std::vector<mahtrt_landmark>& found) {
    std::string text = "{\"engine\": " + quoted(session.engine()) + ", \"landmarks\": [";
    for (std::size_t i = 0; i < found.size(); ++i) {
        const mahtrt_landmark& one = found[i];
        text += (i == 0 ? "\n  {" : ",\n  {");
        text += "\"name\": " + quoted(session.name(i)) + ", \"x_px\": " + number(one.x_px) +
                ", \"y_px\": " + number(one.y_px) + ", \"confidence\": " +
                number(one.confidence) + ", \"spread_px\": " + number(one.spread_px) + "}";
    }
    return text + "]}\n";
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 3) {
        std::cerr << "usage: landmarks_cpp BUNDLE IMAGE...\n";
        return MAHTRT_USAGE;
    }
    const mahtrt::Session session(argv[1]);
    std::vector<mahtrt::Picture> pictures;
    std::vector<mahtrt_image> images;
    for (int i = 2; i < argc; ++i) {
        pictures.push_back(read_png(argv[i]));
        images.push_back(pictures.back().image());
    }
    if (images.size() != session.inputs()) {
        std::cerr << "images: give one for each input of the network\n";
        return MAHTRT_USAGE;
    }
    std::vector<mahtrt_landmark> found(session.landmarks());
    session.run_batch(images, found);
    std::cout << json(session, found);
    return MAHTRT_OK;
} catch (const mahtrt::StatusError& error) {
    std::cerr << error.what() << '\n';
    return error.status();
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return MAHTRT_FAILED;
}

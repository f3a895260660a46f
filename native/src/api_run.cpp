// The functions of mahtrt.h that prepare images and run them.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "png.h"
#include "prepare.h"
#include "registry.h"
#include "status.h"

using mahtrt::given;
using mahtrt::guarded;
using mahtrt::refuse;
using mahtrt::Registry;
using mahtrt::Session;

namespace {

constexpr std::size_t kMostCases = 1U << 20;
constexpr double kLeastMm = 1e-6, kMostMm = 1e6;  // per pixel, far beyond what any image has

// The images of an array, whose structs are as large as the first one says.
mahtrt_image image_at(const mahtrt_image* images, std::size_t number) {
    std::size_t size = 0;
    std::memcpy(&size, given(images, "image"), sizeof size);
    const char* place = reinterpret_cast<const char*>(images) + number * size;
    mahtrt_image image{};
    std::memcpy(&image, place, mahtrt::known_bytes<mahtrt_image>(size, "image"));
    return image;
}

mahtrt::Spacing checked_spacing(const mahtrt_image& image) {
    const double row = image.spacing_row_mm, column = image.spacing_column_mm;
    if (row == 0 && column == 0) return {};
    const auto fits = [](double mm) { return mm >= kLeastMm && mm <= kMostMm; };
    if (!fits(row) || !fits(column)) {
        char given_mm[64];
        std::snprintf(given_mm, sizeof given_mm, "%g and %g", row, column);
        refuse("spacing of the image", given_mm,
               "two lengths from 1e-06 to 1e+06 mm per pixel, or 0 for both where unknown");
    }
    return {row, column};
}

std::size_t checked_count(const Session& session, std::size_t images) {
    const std::size_t inputs = session.spec().inputs.size();
    if (images % inputs != 0)
        refuse("images", std::to_string(images),
               "a multiple of " + std::to_string(inputs) + ", one for each input of the network");
    if (images / inputs > kMostCases)
        refuse("images", std::to_string(images), "at most 1048576 cases");
    return images / inputs;
}

std::vector<mahtrt::Case> checked_cases(const Session& session, const mahtrt_image* images,
                                        std::size_t count) {
    const std::size_t inputs = session.spec().inputs.size();
    std::vector<mahtrt::Case> cases(count);
    for (std::size_t c = 0; c < count; ++c) {
        for (std::size_t i = 0; i < inputs; ++i) {
            const mahtrt_image image = image_at(images, c * inputs + i);
            cases[c].images.push_back(mahtrt::checked_image(image));
            if (i == 0) cases[c].spacing = checked_spacing(image);
        }
    }
    return cases;
}

// The caller's array of landmarks, whose structs may be of another version of the header.
struct Room {
    mahtrt_landmark* landmarks;
    std::size_t landmark_size, capacity;
};

void check_room(std::size_t found, const Room& room) {
    if (found == 0) return;
    given(room.landmarks, "landmarks");
    mahtrt::known_bytes<mahtrt_landmark>(room.landmark_size, "landmark");
    if (room.capacity < found)
        refuse("landmarks", "room for " + std::to_string(room.capacity),
               "room for " + std::to_string(found));
}

void hand_out(const std::vector<mahtrt_landmark>& found, const Room& room) {
    char* place = reinterpret_cast<char*>(room.landmarks);
    const std::size_t known = std::min(room.landmark_size, sizeof(mahtrt_landmark));
    for (const mahtrt_landmark& each : found) {
        std::memcpy(place, &each, known);
        place += room.landmark_size;
    }
}

void run_cases(Session& session, const mahtrt_image* images, std::size_t cases, const Room& room,
               const std::vector<mahtrt::Wanted>& wanted) {
    const auto checked = checked_cases(session, images, cases);
    check_room(cases * session.decoder().landmarks(), room);
    hand_out(session.run(checked, wanted), room);
}

// Tensors of the caller, an array whose structs are as large as the first one says.
std::vector<mahtrt_tensor> taken_tensors(const mahtrt_tensor* tensors, std::size_t count,
                                         const char* what) {
    std::vector<mahtrt_tensor> copies;
    for (std::size_t i = 0; i < count; ++i) {
        std::size_t size = 0;
        std::memcpy(&size, given(tensors, what), sizeof size);
        const char* place = reinterpret_cast<const char*>(tensors) + i * size;
        mahtrt_tensor copy{};
        std::memcpy(&copy, place, mahtrt::known_bytes<mahtrt_tensor>(size, what));
        given(copy.name, "name of a tensor");
        given(copy.data, "data of a tensor");
        if (copy.memory != MAHTRT_HOST && copy.memory != MAHTRT_DEVICE)
            refuse(std::string("memory of ") + mahtrt::quoted(copy.name),
                   std::to_string(copy.memory), "MAHTRT_HOST or MAHTRT_DEVICE");
        copies.push_back(copy);
    }
    return copies;
}

void check_floats(const mahtrt_tensor& tensor, std::size_t floats) {
    if (tensor.floats < floats)
        refuse(std::string("tensor ") + mahtrt::quoted(tensor.name),
               "room for " + std::to_string(tensor.floats) + " floats", std::to_string(floats));
}

// Of two tensors of one name, one would stay as it is.
void check_once(const char* what, const mahtrt_tensor& tensor, const float* before) {
    if (before != nullptr)
        refuse(std::string(what) + " " + mahtrt::quoted(tensor.name), "it twice", "it once");
}

std::vector<mahtrt::Wanted> checked_wanted(const Session& session, std::size_t cases,
                                           const mahtrt_tensor* outputs, std::size_t count) {
    std::vector<mahtrt::Wanted> wanted;
    for (const mahtrt_tensor& each : taken_tensors(outputs, count, "output")) {
        if (each.memory != MAHTRT_HOST)
            refuse(std::string("memory of output ") + mahtrt::quoted(each.name), "MAHTRT_DEVICE",
                   "MAHTRT_HOST", "mahtrt_infer writes to memory of the GPU.");
        const std::size_t number = session.output_number(each.name);
        check_floats(each, cases * (session.outputs()[number].floats() / session.batch()));
        wanted.push_back({number, each.data});
    }
    return wanted;
}

// What mahtrt_infer was given, by the numbers of inputs and outputs.
struct Tensors {
    std::vector<const float*> inputs;
    std::vector<float*> outputs;
    bool device = false;
};

Tensors checked_tensors(const Session& session, const mahtrt_tensor* inputs,
                        std::size_t input_count, const mahtrt_tensor* outputs,
                        std::size_t output_count) {
    Tensors found{std::vector<const float*>(session.inputs().size()),
                  std::vector<float*>(session.outputs().size()), false};
    std::size_t on_device = 0;
    for (const mahtrt_tensor& each : taken_tensors(inputs, input_count, "input")) {
        const std::size_t number = session.input_number(each.name);
        check_floats(each, session.inputs()[number].floats());
        check_once("input", each, found.inputs[number]);
        found.inputs[number] = each.data;
        on_device += each.memory == MAHTRT_DEVICE;
    }
    for (std::size_t i = 0; i < found.inputs.size(); ++i)
        if (found.inputs[i] == nullptr)
            refuse("inputs", "none called " + mahtrt::quoted(session.inputs()[i].name),
                   "every input of the network");
    for (const mahtrt_tensor& each : taken_tensors(outputs, output_count, "output")) {
        const std::size_t number = session.output_number(each.name);
        check_floats(each, session.outputs()[number].floats());
        check_once("output", each, found.outputs[number]);
        found.outputs[number] = each.data;
        on_device += each.memory == MAHTRT_DEVICE;
    }
    if (on_device != 0 && on_device != input_count + output_count)
        refuse("memory of the tensors", "some of the host and some of a GPU", "one kind");
    found.device = on_device != 0;
    return found;
}

void hand_out(const mahtrt::Placement& found, mahtrt_placement* placement) {
    if (placement == nullptr) return;
    mahtrt::hand_out(
        mahtrt_placement{0, found.scale_x, found.scale_y, found.offset_x, found.offset_y},
        placement, "placement");
}

void prepare_checked(const mahtrt::InputSpec& input, const mahtrt_image* image, float* tensor,
                     std::size_t floats, mahtrt_placement* placement) {
    const mahtrt::Image checked = mahtrt::checked_image(mahtrt::taken(image, "image"));
    const std::size_t wanted = static_cast<std::size_t>(input.channels) *
                               static_cast<std::size_t>(input.size.height) *
                               static_cast<std::size_t>(input.size.width);
    if (floats < wanted)
        refuse("tensor", "room for " + std::to_string(floats) + " floats",
               std::to_string(wanted));
    hand_out(mahtrt::prepare(input, checked, given(tensor, "tensor")), placement);
}

}  // namespace

extern "C" {

mahtrt_status mahtrt_prepare(const mahtrt_session* session, size_t input,
                             const mahtrt_image* image, float* tensor, size_t floats,
                             mahtrt_placement* placement) {
    return guarded([&] {
        const auto open = Registry::get().need(session);
        const auto& inputs = open->spec().inputs;
        if (input >= inputs.size())
            refuse("input", "number " + std::to_string(input),
                   "one below " + std::to_string(inputs.size()));
        prepare_checked(inputs[input], image, tensor, floats, placement);
    });
}

mahtrt_status mahtrt_preprocess(const mahtrt_input* input, const mahtrt_image* image,
                                float* tensor, size_t floats, mahtrt_placement* placement) {
    return guarded([&] {
        const mahtrt::InputSpec spec = mahtrt::checked_input(mahtrt::taken(input, "input"));
        prepare_checked(spec, image, tensor, floats, placement);
    });
}

mahtrt_status mahtrt_run(mahtrt_session* session, const mahtrt_image* image,
                         mahtrt_landmark* landmarks, size_t landmark_size, size_t capacity) {
    return guarded([&] {
        const auto open = Registry::get().need(session);
        if (open->spec().inputs.size() != 1)
            refuse("image", "one",
                   "one for each of the network's " + std::to_string(open->spec().inputs.size()) +
                       " inputs",
                   "mahtrt_run_batch takes several.");
        run_cases(*open, image, 1, {landmarks, landmark_size, capacity}, {});
    });
}

mahtrt_status mahtrt_run_batch(mahtrt_session* session, const mahtrt_image* images,
                               size_t image_count, mahtrt_landmark* landmarks,
                               size_t landmark_size, size_t capacity,
                               const mahtrt_tensor* outputs, size_t output_count) {
    return guarded([&] {
        const auto open = Registry::get().need(session);
        const std::size_t cases = checked_count(*open, image_count);
        run_cases(*open, images, cases, {landmarks, landmark_size, capacity},
                  checked_wanted(*open, cases, outputs, output_count));
    });
}

mahtrt_status mahtrt_infer(mahtrt_session* session, const mahtrt_tensor* inputs,
                           size_t input_count, const mahtrt_tensor* outputs, size_t output_count,
                           void* stream) {
    return guarded([&] {
        const auto open = Registry::get().need(session);
        const Tensors tensors =
            checked_tensors(*open, inputs, input_count, outputs, output_count);
        if (tensors.device)
            open->engine().infer_device(tensors.inputs, tensors.outputs, stream);
        else
            open->infer(tensors.inputs, tensors.outputs);
    });
}

mahtrt_status mahtrt_png_read(const void* png, size_t bytes, void* pixels, size_t pixel_bytes,
                              mahtrt_image* image) {
    return guarded([&] {
        const auto* data = static_cast<const unsigned char*>(given(png, "png"));
        mahtrt_image filled = mahtrt::taken(image, "image");
        const mahtrt::PngHeader header = mahtrt::read_png_header(data, bytes);
        filled.width = header.width;
        filled.height = header.height;
        filled.row_bytes = header.row_bytes();
        filled.format = header.rgb ? (header.wide ? MAHTRT_RGB16 : MAHTRT_RGB8)
                                   : (header.wide ? MAHTRT_GRAY16 : MAHTRT_GRAY8);
        filled.data = pixels;
        if (pixels != nullptr) {
            if (pixel_bytes < header.bytes())
                refuse("pixels", "room for " + std::to_string(pixel_bytes) + " bytes",
                       std::to_string(header.bytes()));
            mahtrt::read_png(data, bytes, header, static_cast<unsigned char*>(pixels));
        }
        mahtrt::hand_out(filled, image, "image");
    });
}

}  // extern "C"

// An engine of a bundle that is open: images in, landmarks out.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bundle.h"
#include "decode.h"
#include "engine.h"
#include "mahtrt.h"
#include "prepare.h"

namespace mahtrt {

// What to open; defaults of mahtrt_options.
struct OpenOptions {
    std::string engine, runtime_dir;
    std::int32_t require = MAHTRT_ANY, threads = 0, device = 0;
    bool check = true;
    void* stream = nullptr;
};

// One case: an image per input, and the first one's spacing.
struct Case {
    std::vector<Image> images;
    Spacing spacing;
};

// Where to copy an output of all cases to, by its number.
struct Wanted {
    std::size_t output = 0;
    float* data = nullptr;
};

class Session {
  public:
    static std::shared_ptr<Session> open(const std::string& path, const OpenOptions& options);
    ~Session();

    const Bundle& bundle() const noexcept { return bundle_; }
    const ModelSpec& spec() const noexcept { return bundle_.manifest().spec; }
    const EngineRecord& record() const noexcept { return record_; }
    Engine& engine() noexcept { return *engine_; }
    const Decoder& decoder() const noexcept { return *decoder_; }
    const std::vector<TensorInfo>& inputs() const noexcept { return engine_->inputs(); }
    const std::vector<TensorInfo>& outputs() const noexcept { return engine_->outputs(); }
    std::size_t batch() const noexcept { return static_cast<std::size_t>(record_.batch); }
    const std::string& device() const noexcept { return device_; }
    const std::string& runtime_path() const noexcept { return runtime_path_; }
    const std::vector<std::string>& notes() const noexcept { return notes_; }

    // The number of an output or input by its name. Throws Error MAHTRT_USAGE.
    std::size_t output_number(const std::string& name) const;
    std::size_t input_number(const std::string& name) const;

    // Landmarks of every case, one case behind the other, and the outputs that are wanted.
    std::vector<mahtrt_landmark> run(const std::vector<Case>& cases,
                                     const std::vector<Wanted>& wanted);

    // A whole batch of prepared tensors of the host: nullptr for an output that is not wanted.
    void infer(const std::vector<const float*>& inputs, const std::vector<float*>& outputs);

  private:
    class Borrowed;

    Session(Bundle bundle, const EngineRecord& record);
    void run_chunk(const Case* cases, std::size_t count, std::size_t start,
                   const std::vector<Wanted>& wanted, mahtrt_landmark* landmarks);

    Bundle bundle_;
    EngineRecord record_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<Decoder> decoder_;
    std::string device_, runtime_path_;
    std::vector<std::string> notes_;
    std::mutex mutex_;  // of free_
    std::vector<std::unique_ptr<Request>> free_;
};

}  // namespace mahtrt

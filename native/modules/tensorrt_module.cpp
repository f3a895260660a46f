// The part of the library that is compiled with TensorRT's headers: see tensorrt_module.h.
//
// Members used here are those that TensorRT 10.12 to 11.x and TensorRT-RTX have in common. The
// library's own entry is given by the caller, so that nothing is linked.
#include "backends/tensorrt_module.h"

#include <NvInferRuntime.h>

#include <memory>
#include <new>

namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;
using nvinfer1::TensorIOMode;
using nvinfer1::TensorLocation;

// A long in some headers.
constexpr auto kVersion = static_cast<std::int32_t>(NV_TENSORRT_VERSION);

class Logger final : public nvinfer1::ILogger {
  public:
    Logger(mahtrt_tensorrt_say say, void* listener) noexcept : say_(say), listener_(listener) {}

    void log(Severity severity, const char* text) noexcept override {
        if (severity == Severity::kERROR || severity == Severity::kINTERNAL_ERROR)
            say_(listener_, text == nullptr ? "" : text);
    }

  private:
    mahtrt_tensorrt_say say_;
    void* listener_;
};

}  // namespace

// The engine goes before its runtime, and the runtime before its logger.
struct mahtrt_tensorrt_engine {
    mahtrt_tensorrt_engine(mahtrt_tensorrt_say say, void* listener) noexcept
        : logger(say, listener) {}

    Logger logger;
    std::unique_ptr<nvinfer1::IRuntime> runtime;
    std::unique_ptr<nvinfer1::ICudaEngine> engine;
};

struct mahtrt_tensorrt_context {
    std::unique_ptr<nvinfer1::IExecutionContext> context;
};

namespace {

using Engine = mahtrt_tensorrt_engine;
using Context = mahtrt_tensorrt_context;

Engine* open_engine(void* (*create)(void*, std::int32_t), const void* plan, std::size_t bytes,
                    mahtrt_tensorrt_say say, void* listener) noexcept {
    std::unique_ptr<Engine> opened(new (std::nothrow) Engine(say, listener));
    if (opened == nullptr) return nullptr;
    nvinfer1::ILogger* logger = &opened->logger;
    opened->runtime.reset(static_cast<nvinfer1::IRuntime*>(create(logger, kVersion)));
    if (opened->runtime == nullptr) return nullptr;
    // What a plan may bring along as code of the host stays off: that is TensorRT's default.
    opened->engine.reset(opened->runtime->deserializeCudaEngine(plan, bytes));
    return opened->engine == nullptr ? nullptr : opened.release();
}

std::int32_t tensor_count(const Engine* engine) noexcept {
    return engine->engine->getNbIOTensors();
}

std::int32_t type_number(DataType type) noexcept {
    if (type == DataType::kFLOAT) return MAHTRT_TENSORRT_FLOAT32;
    return type == DataType::kHALF ? MAHTRT_TENSORRT_FLOAT16 : MAHTRT_TENSORRT_OTHER;
}

std::int32_t tell_tensor(const Engine* engine, std::int32_t number,
                         mahtrt_tensorrt_tensor* tensor) noexcept {
    const nvinfer1::ICudaEngine& from = *engine->engine;
    const char* name = from.getIOTensorName(number);
    if (name == nullptr) return 0;
    const nvinfer1::Dims shape = from.getTensorShape(name);
    if (shape.nbDims < 0 || shape.nbDims > MAHTRT_TENSORRT_MOST_SIZES) return 0;
    tensor->name = name;
    tensor->is_input = from.getTensorIOMode(name) == TensorIOMode::kINPUT ? 1 : 0;
    tensor->type = type_number(from.getTensorDataType(name));
    tensor->on_device = from.getTensorLocation(name) == TensorLocation::kDEVICE ? 1 : 0;
    tensor->is_linear = from.getTensorFormat(name) == TensorFormat::kLINEAR ? 1 : 0;
    tensor->rank = shape.nbDims;
    for (std::int32_t i = 0; i < shape.nbDims; ++i) tensor->shape[i] = shape.d[i];
    return 1;
}

Context* make_context(Engine* engine) noexcept {
    std::unique_ptr<Context> made(new (std::nothrow) Context);
    if (made == nullptr) return nullptr;
    made->context.reset(engine->engine->createExecutionContext());
    return made->context == nullptr ? nullptr : made.release();
}

std::int32_t set_shape(Context* context, const char* name, std::int32_t rank,
                       const std::int64_t* shape) noexcept {
    if (rank < 0 || rank > MAHTRT_TENSORRT_MOST_SIZES) return 0;
    nvinfer1::Dims sizes{};
    sizes.nbDims = rank;
    for (std::int32_t i = 0; i < rank; ++i) sizes.d[i] = shape[i];
    return context->context->setInputShape(name, sizes) ? 1 : 0;
}

std::int32_t set_address(Context* context, const char* name, void* address) noexcept {
    return context->context->setTensorAddress(name, address) ? 1 : 0;
}

std::int32_t is_ready(Context* context) noexcept {
    const char* missing = nullptr;
    return context->context->inferShapes(1, &missing) == 0 ? 1 : 0;
}

std::int32_t enqueue(Context* context, void* stream) noexcept {
    return context->context->enqueueV3(static_cast<cudaStream_t>(stream)) ? 1 : 0;
}

void close_context(Context* context) noexcept { const std::unique_ptr<Context> ends(context); }

void close_engine(Engine* engine) noexcept { const std::unique_ptr<Engine> ends(engine); }

#if defined(TRT_MAJOR_RTX)
constexpr char kFlavour[] = "tensorrt-rtx";
#else
constexpr char kFlavour[] = "tensorrt";
#endif

constexpr mahtrt_tensorrt_table kTable = {
    MAHTRT_TENSORRT_TABLE, kFlavour,     NV_TENSORRT_MAJOR,
    NV_TENSORRT_MINOR,     open_engine,  tensor_count,
    tell_tensor,           make_context, set_shape,
    set_address,           is_ready,     enqueue,
    close_context,         close_engine,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const mahtrt_tensorrt_table*
mahtrt_tensorrt_table_1(void) {
    return &kTable;
}

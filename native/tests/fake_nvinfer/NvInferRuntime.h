// A stand-in for TensorRT's header, for tests without TensorRT and without a GPU: the names that
// modules/tensorrt_module.cpp uses, as abstract classes that fake_nvinfer.cpp implements.
//
// It is ours from end to end and shows how the library behaves, not that its modules fit NVIDIA's
// binary interface: that is up to the compiler and NVIDIA's own headers. FAKE_MAJOR, FAKE_MINOR
// and, for TensorRT-RTX, FAKE_RTX say which TensorRT it stands for.
#pragma once

#include <cstddef>
#include <cstdint>

#define NV_TENSORRT_MAJOR FAKE_MAJOR
#define NV_TENSORRT_MINOR FAKE_MINOR
#define NV_TENSORRT_VERSION (FAKE_MAJOR * 10000L + FAKE_MINOR * 100L)
#if FAKE_RTX
#define TRT_MAJOR_RTX FAKE_MAJOR
#endif

using cudaStream_t = struct CUstream_st*;

namespace nvinfer1 {

enum class DataType : std::int32_t { kHALF, kINT32, kFLOAT };
enum class TensorIOMode : std::int32_t { kOUTPUT, kINPUT, kNONE };
enum class TensorLocation : std::int32_t { kHOST, kDEVICE };
enum class TensorFormat : std::int32_t { kHWC, kLINEAR };

struct Dims {
    std::int32_t nbDims;
    std::int64_t d[8];
};

class ILogger {
  public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO };
    virtual ~ILogger() = default;
    virtual void log(Severity severity, const char* text) noexcept = 0;
};

class IExecutionContext {
  public:
    virtual ~IExecutionContext() = default;
    virtual bool setInputShape(const char* name, const Dims& shape) noexcept = 0;
    virtual bool setTensorAddress(const char* name, void* address) noexcept = 0;
    virtual std::int32_t inferShapes(std::int32_t most, const char** missing) noexcept = 0;
    virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine {
  public:
    virtual ~ICudaEngine() = default;
    virtual std::int32_t getNbIOTensors() const noexcept = 0;
    virtual const char* getIOTensorName(std::int32_t number) const noexcept = 0;
    virtual Dims getTensorShape(const char* name) const noexcept = 0;
    virtual DataType getTensorDataType(const char* name) const noexcept = 0;
    virtual TensorIOMode getTensorIOMode(const char* name) const noexcept = 0;
    virtual TensorLocation getTensorLocation(const char* name) const noexcept = 0;
    virtual TensorFormat getTensorFormat(const char* name) const noexcept = 0;
    virtual IExecutionContext* createExecutionContext() noexcept = 0;
};

class IRuntime {
  public:
    virtual ~IRuntime() = default;
    virtual ICudaEngine* deserializeCudaEngine(const void* plan, std::size_t bytes) noexcept = 0;
};

}  // namespace nvinfer1

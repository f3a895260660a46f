/* What the library and its TensorRT modules say to each other.
 *
 * TensorRT has no C interface, and the layout of its C++ objects changes from one release to the
 * next: a program has to be compiled with the headers of the library that it meets. So what calls
 * TensorRT is a small shared object of its own, one for each such layout, and this table of C
 * functions is all that the library knows of it. A module is not linked with TensorRT either: the
 * library opens libnvinfer and gives the module its one entry.
 *
 * Functions that give an int32_t give 1 where they succeed and 0 where not; those that give an
 * address give NULL where not. Why is told to `say` before they return. Nothing throws. All are
 * called with the CUDA context current that the engine lives in.
 */
#ifndef MAHTRT_TENSORRT_MODULE_H
#define MAHTRT_TENSORRT_MODULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every change of the table; part of the entry's name. */
#define MAHTRT_TENSORRT_TABLE 1u
#define MAHTRT_TENSORRT_ENTRY "mahtrt_tensorrt_table_1"
#define MAHTRT_TENSORRT_MOST_SIZES 8

enum { MAHTRT_TENSORRT_FLOAT32 = 0, MAHTRT_TENSORRT_FLOAT16 = 1, MAHTRT_TENSORRT_OTHER = 2 };

typedef struct mahtrt_tensorrt_engine mahtrt_tensorrt_engine;
typedef struct mahtrt_tensorrt_context mahtrt_tensorrt_context;

/* An error in TensorRT's words, from any thread. */
typedef void (*mahtrt_tensorrt_say)(void* listener, const char* text);

/* An input or output of an engine. */
typedef struct mahtrt_tensorrt_tensor {
    const char* name; /* lives as long as the engine */
    int32_t is_input;
    int32_t type;      /* MAHTRT_TENSORRT_FLOAT32, … */
    int32_t on_device; /* 0: TensorRT wants it in memory of the host */
    int32_t is_linear; /* 0: its elements do not lie row by row */
    int32_t rank;
    int64_t shape[MAHTRT_TENSORRT_MOST_SIZES]; /* -1: not static */
} mahtrt_tensorrt_tensor;

typedef struct mahtrt_tensorrt_table {
    uint32_t version;     /* MAHTRT_TENSORRT_TABLE */
    const char* flavour;  /* "tensorrt" or "tensorrt-rtx" */
    int32_t major, minor; /* of the headers that the module was compiled with */

    /* create: the address of the library's createInferRuntime_INTERNAL. listener has to outlive
     * the engine. The plan may be freed afterwards. */
    mahtrt_tensorrt_engine* (*open)(void* (*create)(void* logger, int32_t version),
                                    const void* plan, size_t bytes, mahtrt_tensorrt_say say,
                                    void* listener);
    int32_t (*tensor_count)(const mahtrt_tensorrt_engine* engine);
    int32_t (*tensor)(const mahtrt_tensorrt_engine* engine, int32_t number,
                      mahtrt_tensorrt_tensor* tensor);
    /* One thread at a time. */
    mahtrt_tensorrt_context* (*make_context)(mahtrt_tensorrt_engine* engine);
    int32_t (*set_shape)(mahtrt_tensorrt_context* context, const char* name, int32_t rank,
                         const int64_t* shape);
    int32_t (*set_address)(mahtrt_tensorrt_context* context, const char* name, void* address);
    /* Whether shapes are known of all tensors, after set_shape and set_address. */
    int32_t (*is_ready)(mahtrt_tensorrt_context* context);
    /* stream: a CUstream. */
    int32_t (*enqueue)(mahtrt_tensorrt_context* context, void* stream);
    void (*close_context)(mahtrt_tensorrt_context* context);
    /* After its contexts. */
    void (*close)(mahtrt_tensorrt_engine* engine);
} mahtrt_tensorrt_table;

/* Exported by a module under the name MAHTRT_TENSORRT_ENTRY. */
typedef const mahtrt_tensorrt_table* (*mahtrt_tensorrt_entry)(void);

#ifdef __cplusplus
}
#endif
#endif /* MAHTRT_TENSORRT_MODULE_H */

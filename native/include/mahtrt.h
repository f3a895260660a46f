/* libmahtrt: landmarks from a .mahtrt bundle, without Python.
 *
 * The library opens a bundle that `mahtrt build` wrote, prepares images exactly as the network was
 * trained and judged with, runs the engine, and gives landmarks in the pixels of the image.
 *
 *     mahtrt_session *session;
 *     if (mahtrt_open("demo.mahtrt", NULL, &session) != MAHTRT_OK) puts(mahtrt_last_error());
 *     mahtrt_image image;
 *     mahtrt_image_init(&image, sizeof image);
 *     image.data = pixels; image.width = 1935; image.height = 2400; image.format = MAHTRT_GRAY8;
 *     mahtrt_landmark found[40];
 *     mahtrt_run(session, &image, found, sizeof found[0], 40);
 *     mahtrt_close(session);
 *
 * Rules that hold everywhere:
 *
 * - A function that can fail returns a mahtrt_status. When it is not MAHTRT_OK, the calling thread
 *   finds a sentence in mahtrt_last_error(). No function ends the process or throws.
 * - Memory belongs to who made it. Results are written into memory of the caller; texts belong to
 *   the library and live as long as their session.
 * - Every struct of the caller begins with its size, which its _init function sets: a library that
 *   knows more fields than the caller leaves the others alone. Fields are only ever added at the
 *   end.
 * - Texts are UTF-8 and end with a zero byte.
 * - Pixels: x points right, y down, the centre of the first pixel is (0, 0).
 * - Every function may be called from any thread at any time, and on one session from several
 *   threads at once. Closing a session while others run on it waits for nothing: the calls under
 *   way end well, and the session's memory goes with the last of them.
 *
 * This file is C99 and C++; its functions have C linkage.
 */
#ifndef MAHTRT_H
#define MAHTRT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MAHTRT_API __attribute__((visibility("default")))
#else
#define MAHTRT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Versions ---------------------------------------------------------------------------- */

/* The interface that this header describes. It grows when a program that was compiled with an
 * older header would no longer work; adding functions or fields at the end leaves it. */
#define MAHTRT_ABI 1u
#define MAHTRT_VERSION "0.1.0"

/* MAHTRT_ABI and MAHTRT_VERSION of the library that is loaded. */
MAHTRT_API uint32_t mahtrt_abi(void);
MAHTRT_API const char *mahtrt_version(void);

/* The version of docs/preprocessing.md by which this library prepares images. */
MAHTRT_API int32_t mahtrt_preprocess_version(void);

/* ---- Status ------------------------------------------------------------------------------ */

/* Integers of 32 bits rather than enums, so that other languages know their size. Those up to 6
 * are the exit codes of the command line. */
typedef int32_t mahtrt_status;
enum {
    MAHTRT_OK = 0,
    MAHTRT_FAILED = 1,        /* the bundle, its engine or a file cannot be used */
    MAHTRT_USAGE = 2,         /* an argument that is missing, too small or unknown */
    MAHTRT_OVER_BUDGET = 3,   /* an engine is further from the golden vectors than allowed */
    MAHTRT_INTEGRITY = 5,     /* a file was changed, or is newer than this library reads */
    MAHTRT_MISSING = 6,       /* a runtime, driver or feature of the CPU is not there */
    MAHTRT_BAD_IMAGE = 7,     /* an image that cannot be used */
    MAHTRT_OUT_OF_MEMORY = 8
};

/* What the last call of this thread that failed had to say; "" before any. The text stays until
 * this thread's next call that fails. */
MAHTRT_API const char *mahtrt_last_error(void);

/* ---- Opening ----------------------------------------------------------------------------- */

typedef struct mahtrt_session mahtrt_session;

enum { MAHTRT_ANY = 0, MAHTRT_CPU = 1, MAHTRT_GPU = 2 };

typedef struct mahtrt_options {
    size_t size;
    const char *engine;      /* name of an engine, or of a target; NULL: the bundle's default, or
                                the fastest that runs here */
    const char *runtime_dir; /* folder that holds the runtime's libraries; NULL: the environment
                                variable MAHTRT_RUNTIME_DIR, the openvino package of the Python in
                                use, the loader's own places */
    int32_t require;         /* MAHTRT_ANY, MAHTRT_CPU or MAHTRT_GPU */
    int32_t threads;         /* of one inference on a CPU; 0: what the build measured, if it was on
                                this CPU, else the runtime's own choice */
    int32_t device;          /* number of the GPU */
    int32_t skip_digests;    /* not 0: do not hash the files that are opened */
    void *stream;            /* CUstream that a GPU engine works on, which has to live as long as the
                                session; NULL: streams of its own */
} mahtrt_options;

/* Every field to its default. size: sizeof(mahtrt_options). */
MAHTRT_API void mahtrt_options_init(mahtrt_options *options, size_t size);

/* Opens an engine of a bundle. options may be NULL. *session is set to NULL when it fails. */
MAHTRT_API mahtrt_status mahtrt_open(const char *bundle, const mahtrt_options *options,
                                     mahtrt_session **session);

/* Closes a session. NULL is allowed; a session that is closed already gives MAHTRT_USAGE. */
MAHTRT_API mahtrt_status mahtrt_close(mahtrt_session *session);

/* Checks schema, size and digest of every file of a bundle, and that there is no other file. */
MAHTRT_API mahtrt_status mahtrt_verify(const char *bundle);

/* Runs the session's engine on the golden images of its bundle and compares the result with what
 * the bundle holds; MAHTRT_OVER_BUDGET when it is further off than the bundle allows. *worst_px,
 * unless NULL, is the largest displacement of a landmark in pixels of the network's input (NaN
 * for a network without landmarks). */
MAHTRT_API mahtrt_status mahtrt_replay(mahtrt_session *session, double *worst_px);

/* ---- What a session is -------------------------------------------------------------------- */

/* These give NULL, 0 or -1 for a session that is not open or a number that is too large. */

MAHTRT_API const char *mahtrt_engine_name(const mahtrt_session *session);
MAHTRT_API const char *mahtrt_device_name(const mahtrt_session *session); /* "cpu", "cuda:0 …" */
MAHTRT_API const char *mahtrt_runtime_path(const mahtrt_session *session); /* of the library */
/* 1: the engine passed the bundle's accuracy gate; 0: it did not; -1: it was not judged. */
MAHTRT_API int32_t mahtrt_gate_passed(const mahtrt_session *session);
MAHTRT_API size_t mahtrt_batch(const mahtrt_session *session); /* cases per inference */
/* What a user should know of the engine here, one sentence each. */
MAHTRT_API size_t mahtrt_note_count(const mahtrt_session *session);
MAHTRT_API const char *mahtrt_note(const mahtrt_session *session, size_t note);
/* 0 for a network without landmarks. */
MAHTRT_API size_t mahtrt_landmark_count(const mahtrt_session *session);
MAHTRT_API const char *mahtrt_landmark_name(const mahtrt_session *session, size_t landmark);
MAHTRT_API size_t mahtrt_input_count(const mahtrt_session *session);
MAHTRT_API size_t mahtrt_output_count(const mahtrt_session *session);

enum { MAHTRT_RGB_ORDER = 0, MAHTRT_BGR_ORDER = 1 };
enum { MAHTRT_LETTERBOX = 0, MAHTRT_STRETCH = 1, MAHTRT_CENTER_CROP = 2 };
enum {
    MAHTRT_AREA = 0,
    MAHTRT_LINEAR = 1,
    MAHTRT_CUBIC = 2,
    MAHTRT_NEAREST = 3,
    MAHTRT_NEAREST_FLOOR = 4,
    MAHTRT_ANTIALIASED_LINEAR = 5,
    MAHTRT_ANTIALIASED_CUBIC = 6
};

/* An input of the network: how an image becomes a tensor (docs/preprocessing.md). */
typedef struct mahtrt_input {
    size_t size;
    const char *name;      /* not used by mahtrt_preprocess */
    int32_t height, width; /* pixels of the tensor */
    int32_t channels;      /* 1 or 3 */
    int32_t color_order;   /* MAHTRT_RGB_ORDER or MAHTRT_BGR_ORDER, of a tensor of 3 channels */
    int32_t resize;        /* MAHTRT_LETTERBOX, … */
    int32_t interpolation; /* MAHTRT_AREA, … */
    double mean[3], std[3]; /* per channel, of intensities from 0 to 1 */
    double pad_value;      /* intensity from 0 to 1 of what a letterbox adds */
} mahtrt_input;

MAHTRT_API void mahtrt_input_init(mahtrt_input *input, size_t size);
/* Fills *input, whose size is set. */
MAHTRT_API mahtrt_status mahtrt_input_info(const mahtrt_session *session, size_t number,
                                           mahtrt_input *input);

enum {
    MAHTRT_HEATMAPS = 0,
    MAHTRT_LANDMARKS = 1,
    MAHTRT_CONFIDENCE = 2,
    MAHTRT_SPREAD = 3,
    MAHTRT_MAP = 4,
    MAHTRT_LOGITS = 5,
    MAHTRT_VISIBILITY = 6
};

/* An output of the network, as it is; landmarks come decoded from mahtrt_run. */
typedef struct mahtrt_output {
    size_t size;
    const char *name;
    int32_t kind;      /* MAHTRT_HEATMAPS, … */
    int32_t rank;      /* how many of shape are used */
    int64_t shape[4];  /* the batch first */
    double threshold;  /* probability from which a landmark is visible or a label present */
    size_t labels;     /* names that its logits have, 0 where they have none */
} mahtrt_output;

MAHTRT_API void mahtrt_output_init(mahtrt_output *output, size_t size);
MAHTRT_API mahtrt_status mahtrt_output_info(const mahtrt_session *session, size_t number,
                                            mahtrt_output *output);
MAHTRT_API const char *mahtrt_label(const mahtrt_session *session, size_t output, size_t label);

/* ---- Images ------------------------------------------------------------------------------ */

/* Samples of 16 bits are in the byte order of the machine. */
enum {
    MAHTRT_GRAY8 = 0,
    MAHTRT_GRAY16 = 1,
    MAHTRT_RGB8 = 2,
    MAHTRT_RGB16 = 3,
    MAHTRT_BGR8 = 4,
    MAHTRT_BGR16 = 5,
    MAHTRT_RGBX8 = 6, /* the fourth sample is not used */
    MAHTRT_BGRX8 = 7
};

typedef struct mahtrt_image {
    size_t size;
    const void *data;         /* the first row's first sample */
    size_t row_bytes;         /* from the start of a row to that of the next; 0: rows are packed */
    int32_t width, height;    /* pixels */
    int32_t format;           /* MAHTRT_GRAY8, … */
    double spacing_row_mm;    /* mm from one row to the next; 0: not known */
    double spacing_column_mm; /* mm from one column to the next; 0: not known */
} mahtrt_image;

MAHTRT_API void mahtrt_image_init(mahtrt_image *image, size_t size);

/* Reads a PNG of 8 or 16 bits, gray or RGB, that lies in memory. Fills image: width, height,
 * format, row_bytes (packed), and data = pixels. With pixels NULL only the header is read, which
 * tells how large pixels has to be: row_bytes * height. */
MAHTRT_API mahtrt_status mahtrt_png_read(const void *png, size_t bytes, void *pixels,
                                         size_t pixel_bytes, mahtrt_image *image);

/* Where the image lies on the network's input:
 *     x_network = (x_image + 0.5) * scale_x - 0.5 + offset_x          likewise for y. */
typedef struct mahtrt_placement {
    size_t size;
    double scale_x, scale_y;   /* network pixels per image pixel */
    double offset_x, offset_y; /* network pixels; negative where the image is cropped */
} mahtrt_placement;

/* An image as an input of the network takes it: (channels, height, width), floats in all.
 * placement may be NULL; else its size is set by the caller. */
MAHTRT_API mahtrt_status mahtrt_prepare(const mahtrt_session *session, size_t input,
                                        const mahtrt_image *image, float *tensor, size_t floats,
                                        mahtrt_placement *placement);

/* The same without a session. */
MAHTRT_API mahtrt_status mahtrt_preprocess(const mahtrt_input *input, const mahtrt_image *image,
                                           float *tensor, size_t floats,
                                           mahtrt_placement *placement);

/* ---- Running ----------------------------------------------------------------------------- */

/* A landmark. What is not known is NaN, or -1. Fields are only added at the end: give
 * sizeof(mahtrt_landmark) as landmark_size. */
typedef struct mahtrt_landmark {
    float x_px, y_px;               /* in the image's pixels */
    float confidence;               /* value of the heatmap's peak */
    float spread_px;                /* standard deviation of the heatmap, of both axes together */
    float spread_x_px, spread_y_px; /* that along each axis, of a round heatmap */
    float x_mm, y_mm;               /* from the centre of the first pixel */
    float visibility;               /* probability that it can be seen */
    int32_t visible;                /* whether that reaches the output's threshold: 1, 0, -1 */
    int32_t two_peaks;              /* whether the heatmap is far wider than usual: 1, 0, -1 */
} mahtrt_landmark;

enum { MAHTRT_HOST = 0, MAHTRT_DEVICE = 1 };

/* A tensor of 32-bit floats in memory of the caller, by the name of an input or output. */
typedef struct mahtrt_tensor {
    size_t size;
    const char *name;
    float *data;
    size_t floats;  /* how many fit */
    int32_t memory; /* MAHTRT_HOST, or MAHTRT_DEVICE for an address on the session's GPU; the four
                       bytes behind it are padding, which no later version uses */
} mahtrt_tensor;

/* Runs one image, for a network of one input. landmarks has room for capacity landmarks of
 * landmark_size bytes each; it may be NULL for a network without landmarks. */
MAHTRT_API mahtrt_status mahtrt_run(mahtrt_session *session, const mahtrt_image *image,
                                    mahtrt_landmark *landmarks, size_t landmark_size,
                                    size_t capacity);

/* Runs cases: each is an image for every input of the network, in their order. images holds
 * image_count of them, one case behind the other, each as large as the first one's `size` says:
 * with mahtrt_input_count() images it is one case. Landmarks come in the same order,
 * mahtrt_landmark_count() of each case. outputs, which may be NULL, are raw outputs to copy as
 * well, each with room for all cases, one case behind the other. */
MAHTRT_API mahtrt_status mahtrt_run_batch(mahtrt_session *session, const mahtrt_image *images,
                                          size_t image_count, mahtrt_landmark *landmarks,
                                          size_t landmark_size, size_t capacity,
                                          const mahtrt_tensor *outputs, size_t output_count);

/* Runs the engine on tensors that are prepared, a whole batch: every input, and the outputs that
 * are wanted. With MAHTRT_DEVICE memory (all or none) nothing is copied, and the call returns as
 * soon as the work lies on `stream`. NULL: the session's stream, or where that is NULL too, behind
 * the work of CUDA's default stream, whose later work waits. */
MAHTRT_API mahtrt_status mahtrt_infer(mahtrt_session *session, const mahtrt_tensor *inputs,
                                      size_t input_count, const mahtrt_tensor *outputs,
                                      size_t output_count, void *stream);

#ifdef __cplusplus
}
#endif
#endif /* MAHTRT_H */

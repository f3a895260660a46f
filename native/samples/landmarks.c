/* Landmarks of an image, as JSON.
 *
 *     landmarks BUNDLE IMAGE...      one image for each input of the network: PGM (P5) or PNG
 *
 * The exit code is the status: 0, or what mahtrt.h calls MAHTRT_FAILED and so on; the sentence
 * about it goes to stderr.
 *
 *     cc landmarks.c -o landmarks $(pkg-config --cflags --libs mahtrt)
 */
#include <mahtrt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mahtrt_status refused(const char *what, const char *why, mahtrt_status status) {
    fprintf(stderr, "%s: %s\n", what, why);
    return status;
}

/* The whole file, in memory that the caller frees; NULL if it cannot be read. */
static unsigned char *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    unsigned char *content = NULL;
    long size = -1;
    if (file == NULL) return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0) {
        rewind(file);
        content = malloc((size_t)size + 1);
        if (content != NULL && fread(content, 1, (size_t)size, file) != (size_t)size) {
            free(content);
            content = NULL;
        }
    }
    fclose(file);
    if (content == NULL) return NULL;
    content[size] = 0; /* so that text in it has an end */
    *bytes = (size_t)size;
    return content;
}

/* A PGM has a header in plain text, then its samples; those of 16 bits have the high byte first.
 * The image points into the file's content, which is changed to the machine's byte order. */
static mahtrt_status open_pgm(unsigned char *content, size_t bytes, mahtrt_image *image) {
    int width = 0, height = 0, largest = 0, header = 0;
    const int found = sscanf((const char *)content, "P5 %d %d %d%*1[ \t\r\n]%n", &width, &height,
                             &largest, &header);
    if (found != 3 || header == 0 || width <= 0 || height <= 0) return MAHTRT_BAD_IMAGE;
    if (largest != 255 && largest != 65535) return MAHTRT_BAD_IMAGE;
    const size_t samples = (size_t)width * (size_t)height, sample = largest == 255 ? 1 : 2;
    if ((bytes - (size_t)header) / sample < samples) return MAHTRT_BAD_IMAGE;
    memmove(content, content + header, samples * sample); /* to where a uint16_t may lie */
    for (size_t i = 0; sample == 2 && i < samples; ++i) {
        const uint16_t value = (uint16_t)(content[2 * i] << 8 | content[2 * i + 1]);
        memcpy(content + 2 * i, &value, sizeof value);
    }
    image->data = content;
    image->width = width;
    image->height = height;
    image->format = sample == 1 ? MAHTRT_GRAY8 : MAHTRT_GRAY16;
    return MAHTRT_OK;
}

/* image->data is memory that the caller frees, unless it is NULL. */
static mahtrt_status read_image(const char *path, mahtrt_image *image) {
    size_t bytes = 0;
    unsigned char *content = read_file(path, &bytes);
    mahtrt_status status;
    mahtrt_image_init(image, sizeof *image);
    if (content == NULL) return refused(path, "cannot be read", MAHTRT_FAILED);
    if (bytes > 2 && memcmp(content, "P5", 2) == 0) {
        status = open_pgm(content, bytes, image);
        if (status == MAHTRT_OK) return status;
        free(content);
        return refused(path, "is no PGM of 8 or 16 bits", status);
    }
    status = mahtrt_png_read(content, bytes, NULL, 0, image); /* how large it is */
    if (status == MAHTRT_OK) {
        const size_t room = image->row_bytes * (size_t)image->height;
        void *pixels = malloc(room);
        status = pixels == NULL ? MAHTRT_OUT_OF_MEMORY
                                : mahtrt_png_read(content, bytes, pixels, room, image);
        if (status != MAHTRT_OK) free(pixels);
    }
    free(content);
    if (status == MAHTRT_OK) return status;
    image->data = NULL;
    return refused(path, mahtrt_last_error(), status);
}

static void print_text(const char *name, const char *text) {
    printf("\"%s\": \"", name);
    for (; *text != 0; ++text) {
        const unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') printf("\\%c", byte);
        else if (byte < 0x20) printf("\\u%04x", byte);
        else putchar(byte);
    }
    putchar('"');
}

/* JSON has no NaN, which stands for what is not known. Nine digits give the same float back. */
static void print_number(const char *name, float value) {
    if (isnan(value)) printf(", \"%s\": null", name);
    else printf(", \"%s\": %.9g", name, (double)value);
}

static void print_json(const mahtrt_session *session, const mahtrt_landmark *found, size_t count) {
    printf("{");
    print_text("engine", mahtrt_engine_name(session));
    printf(", \"landmarks\": [");
    for (size_t i = 0; i < count; ++i) {
        printf(i == 0 ? "\n  {" : ",\n  {");
        print_text("name", mahtrt_landmark_name(session, i));
        print_number("x_px", found[i].x_px);
        print_number("y_px", found[i].y_px);
        print_number("confidence", found[i].confidence);
        print_number("spread_px", found[i].spread_px);
        printf("}");
    }
    printf("]}\n");
}

static mahtrt_status run(mahtrt_session *session, const mahtrt_image *images, size_t inputs) {
    const size_t count = mahtrt_landmark_count(session);
    mahtrt_landmark *found = malloc((count + 1) * sizeof *found);
    if (found == NULL) return refused("landmarks", "no memory", MAHTRT_OUT_OF_MEMORY);
    const mahtrt_status status =
        mahtrt_run_batch(session, images, inputs, found, sizeof *found, count, NULL, 0);
    if (status == MAHTRT_OK) print_json(session, found, count);
    else refused("run", mahtrt_last_error(), status);
    free(found);
    return status;
}

int main(int argc, char **argv) {
    mahtrt_session *session = NULL;
    mahtrt_status status = MAHTRT_OK;
    if (argc < 3) return refused("usage", "landmarks BUNDLE IMAGE...", MAHTRT_USAGE);
    if (mahtrt_abi() != MAHTRT_ABI)
        return refused("libmahtrt", "has another interface than its header", MAHTRT_USAGE);
    status = mahtrt_open(argv[1], NULL, &session);
    if (status != MAHTRT_OK) return refused("open", mahtrt_last_error(), status);
    const size_t count = (size_t)argc - 2;
    mahtrt_image *images = calloc(count, sizeof *images);
    if (images == NULL) status = MAHTRT_OUT_OF_MEMORY;
    else if (count != mahtrt_input_count(session))
        status = refused("images", "give one for each input of the network", MAHTRT_USAGE);
    for (size_t i = 0; i < count && status == MAHTRT_OK; ++i)
        status = read_image(argv[i + 2], &images[i]);
    if (status == MAHTRT_OK) status = run(session, images, count);
    for (size_t i = 0; images != NULL && i < count; ++i) free((void *)images[i].data);
    free(images);
    mahtrt_close(session);
    return status;
}

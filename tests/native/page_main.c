/* Calls what docs/c-library.md defines; the test puts the page's functions before it.
 * Arguments: a bundle of landmarks, a bundle of two inputs with a map and labels, OpenVINO. */

static mahtrt_image gray_image(const void *pixels, int32_t format) {
    mahtrt_image image;
    mahtrt_image_init(&image, sizeof image);
    image.data = pixels;
    image.width = 60;
    image.height = 40;
    image.format = format;
    return image;
}

static void need(int truth, const char *what) {
    if (truth) return;
    fprintf(stderr, "%s: %s\n", what, mahtrt_last_error());
    exit(1);
}

static void try_landmarks(const char *bundle, const char *openvino) {
    static uint16_t wide[100 * 100];
    static unsigned char pixels[60 * 40];
    static struct job jobs[4];
    pthread_t threads[4];
    mahtrt_landmark found[64];
    mahtrt_session *session = open_on_cpu(bundle, openvino);
    need(session != NULL, "open");
    const mahtrt_status checked = check_bundle(bundle, session);
    need(checked == MAHTRT_OK || checked == MAHTRT_FAILED, "check"); /* no golden images */
    need(infer_there(session, NULL, NULL, NULL) == MAHTRT_USAGE, "no memory of a GPU");
    need(run_part(session, wide, 100, 10, 20, 60, 40, found, 64) == MAHTRT_OK, "part");
    need(found[0].x_px >= 10 && found[0].x_mm >= 0, "its place");
    mahtrt_image empty = gray_image(pixels, MAHTRT_GRAY8);
    empty.width = 0;
    need(mahtrt_run(session, &empty, found, sizeof *found, 64) == MAHTRT_BAD_IMAGE, "no image");
    printf("%s\n", mahtrt_last_error());
    for (int i = 0; i < 4; ++i) {
        jobs[i].session = session;
        jobs[i].image = gray_image(pixels, i == 0 ? 99 : MAHTRT_GRAY8);
        need(pthread_create(&threads[i], NULL, work, &jobs[i]) == 0, "thread");
    }
    for (int i = 0; i < 4; ++i) {
        need(pthread_join(threads[i], NULL) == 0, "join");
        need((jobs[i].status == MAHTRT_OK) == (i != 0), "job");
        need((jobs[i].error[0] == 0) == (i != 0), "its text");
    }
    need(mahtrt_close(session) == MAHTRT_OK, "close");
}

static void try_maps(const char *bundle, const char *openvino) {
    static unsigned char pixels[60 * 40];
    const mahtrt_image images[2] = {gray_image(pixels, MAHTRT_GRAY8),
                                    gray_image(pixels, MAHTRT_GRAY8)};
    mahtrt_session *session = open_on_cpu(bundle, openvino);
    mahtrt_placement placement;
    mahtrt_output map;
    mahtrt_input input;
    size_t number = 0;
    float *tensor = NULL;
    double x = 0, y = 0;
    need(session != NULL, "open");
    need(run_pair(session, &images[0], &images[1], NULL, 0) == MAHTRT_OK, "pair");
    print_labels(session, images);
    float *cells = run_output(session, images, MAHTRT_MAP, &number, &map);
    need(cells != NULL && map.rank == 4, "map");
    need(prepared(session, &images[0], &tensor, &placement) == MAHTRT_OK, "prepare");
    mahtrt_input_init(&input, sizeof input);
    need(mahtrt_input_info(session, 0, &input) == MAHTRT_OK, "input");
    pixel_of_cell(&placement, &input, &map, (int)map.shape[3] / 2, (int)map.shape[2] / 2, &x, &y);
    need(fabs(x - 30) < 2 && fabs(y - 20) < 2, "the middle of the map");
    free(cells);
    free(tensor);
    need(mahtrt_close(session) == MAHTRT_OK, "close");
}

int main(int argc, char **argv) {
    need(same_interface() && argc == 4, "interface");
    try_landmarks(argv[1], argv[3]);
    try_maps(argv[2], argv[3]);
    return 0;
}

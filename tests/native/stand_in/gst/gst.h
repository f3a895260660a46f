// Declarations in place of GStreamer's, to compile docs/c-library.md where it is not installed.
#pragma once

struct GstElement;
struct GstBin;
struct GstSample;
struct GstBuffer;
struct GstCaps;
enum GstState { GST_STATE_NULL, GST_STATE_PLAYING };
enum GstMapFlags { GST_MAP_READ };

void gst_init(int* argc, char*** argv);
GstElement* gst_parse_launch(const char* pipeline, void** error);
GstBin* GST_BIN(GstElement* element);
GstElement* gst_bin_get_by_name(GstBin* bin, const char* name);
int gst_element_set_state(GstElement* element, GstState state);
void gst_object_unref(void* object);
GstBuffer* gst_sample_get_buffer(GstSample* sample);
GstCaps* gst_sample_get_caps(GstSample* sample);
void gst_sample_unref(GstSample* sample);

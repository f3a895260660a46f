#pragma once

#include "../gst.h"

struct GstAppSink;

GstAppSink* GST_APP_SINK(GstElement* element);
GstSample* gst_app_sink_pull_sample(GstAppSink* sink);

#pragma once

#include "../gst.h"

struct GstVideoInfo {
    int width, height;
};

struct GstVideoFrame {
    void* data[4];
    int stride[4];
};

#define GST_VIDEO_FRAME_PLANE_DATA(frame, plane) ((frame)->data[plane])
#define GST_VIDEO_FRAME_PLANE_STRIDE(frame, plane) ((frame)->stride[plane])

int gst_video_info_from_caps(GstVideoInfo* info, const GstCaps* caps);
int gst_video_frame_map(GstVideoFrame* frame, const GstVideoInfo* info, GstBuffer* buffer,
                        GstMapFlags flags);
void gst_video_frame_unmap(GstVideoFrame* frame);

// Declarations in place of OpenCV's, to compile docs/c-library.md where OpenCV is not installed.
#pragma once

#include <cstddef>
#include <vector>

namespace cv {

struct Point {
    Point(int x, int y);
};

struct Scalar {
    Scalar(double first, double second, double third);
};

struct Mat {
    unsigned char* data;
    int rows, cols;
    struct Step {
        operator std::size_t() const;
    } step;
};

struct VideoCapture {
    explicit VideoCapture(int index);
    bool read(Mat& frame);
};

void circle(Mat& image, Point centre, int radius, const Scalar& colour, int thickness);
void imshow(const char* window, const Mat& image);
int waitKey(int milliseconds);

}  // namespace cv

int cvRound(float value);

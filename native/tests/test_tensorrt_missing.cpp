// Engines for a GPU on a machine without NVIDIA's driver. Nothing to see where there is one.
#include <dlfcn.h>

#include "error.h"
#include "fake_bundle.h"

int main() {
    if (dlopen("libcuda.so.1", RTLD_NOW) != nullptr) return 0;
    const FakeBundle bundle;
    CHECK_REFUSED(bundle.open(), MAHTRT_MISSING, "NVIDIA's driver: got libcuda.so.1: cannot open");
    CHECK(bundle.problem().find("--gpus all") != std::string::npos);
    FakeEngine other;
    other.target = "tensorrt-rtx";
    other.platform = "windows_amd64";
    CHECK_REFUSED(FakeBundle(other).open(), MAHTRT_FAILED, "windows_amd64");
    return 0;
}

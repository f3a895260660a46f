// A small manifest, and ways to change it.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "sha256.h"

// The text with its own digest at the end, as docs/bundle-format.md says; `text` ends before it.
inline std::string sealed(const std::string& text) {
    const std::string before = text + "  \"sha256\": \"", after = "\"\n}\n";
    const std::string zeroed = before + std::string(64, '0') + after;
    return before + mahtrt::sha256_hex(zeroed.data(), zeroed.size()) + after;
}

// Replaces the first `old` in the text; ends the program where there is none.
inline std::string replaced(std::string text, const std::string& old, const std::string& now) {
    const std::size_t at = text.find(old);
    if (at == std::string::npos) std::fprintf(stderr, "no %s\n", old.c_str()), std::exit(1);
    return text.replace(at, old.size(), now);
}

// files: the records of its files, "{...}, {...}", model.onnx among them.
inline std::string tiny_manifest(const std::string& files) {
    return R"({
  "schema": "mahtrt.bundle/3",
  "spec": {
    "family": "tiny",
    "inputs": [{"size": [32, 48], "name": "image", "channels": 3, "color_order": "bgr",
                "mean": [0.1, 0.2, 0.3], "std": [1, 1, 0.5], "resize": "stretch",
                "interpolation": "cubic", "pad_value": 0.25}],
    "outputs": [{"name": "points", "kind": "landmarks", "frame": "heatmap", "labels": [],
                 "threshold": 0.5}, {"name": "maps", "kind": "heatmaps"}],
    "landmarks": ["a", "b"],
    "decode": {"method": "dark", "temperature": 1, "heatmap_size": [8, 12], "sigma": 1.5},
    "quantize": {"exclude": []},
    "config": {"free": [1, {"x": null}]},
    "schema": "mahtrt.spec/2"
  },
  "precision": "int8",
  "graphs": [{"name": "int8", "file": "model.onnx", "precision": "int8", "batch": 1, "opset": 20,
              "weight_bits": 7}],
  "engines": [{"name": "openvino-int8", "target": "openvino", "precision": "int8",
               "files": {"onnx": "model.onnx"}, "batch": 1,
               "device": {"name": "CPU", "platform": "", "capabilities": ["FP32"],
                          "inference_precision": "f32", "threads": null, "cores": 4,
                          "tried_ms": {"latency": 1.5}, "settings": {}},
               "versions": {"openvino": "2026.4"},
               "verdict": {"passed": false, "reasons": ["too far"], "measured_on": "engine"},
               "accuracy": null,
               "latency": {"p50_ms": 1.5, "p90_ms": 2, "runs": 10},
               "notes": ["A note."], "build": null, "golden": null}],
  "default_engine": "openvino-int8",
  "preprocess_version": 2,
  "gate": {"reference": "PyTorch", "budgets": {"budget_px": 0.25, "worst_landmark_px": 1,
           "fp32_px": 0.001, "fp32_max_px": 0.01, "map_max": 0.5}},
  "golden": null,
  "files": [)" +
           files + "],\n";
}

inline std::string tiny_file_record(const std::string& path, const std::string& content) {
    return "{\"path\": \"" + path + "\", \"sha256\": \"" +
           mahtrt::sha256_hex(content.data(), content.size()) +
           "\", \"size\": " + std::to_string(content.size()) + "}";
}

// manifest.json of a bundle: docs/bundle-format.md says what each field means.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spec.h"

namespace mahtrt {

struct FileRecord {
    std::string path, sha256;
    std::uint64_t size = 0;
};

struct DeviceRecord {
    std::string name, platform, inference_precision;
    std::vector<std::string> capabilities;
    std::optional<std::int64_t> threads, cores;
    std::map<std::string, std::string> settings;
};

// Differences from a reference; NaN is what the manifest holds as null.
struct MapAccuracy {
    std::string name;
    double mean = 0, max = 0, ssim = 1;
};
struct DecisionAccuracy {
    std::string name;
    double max = 0, agreement = 1;
};
struct LandmarkAccuracy {
    std::string name;
    double mean_px = 0, max_px = 0, usual_spread_px = 0;
};
struct AccuracyRecord {
    double mean_px = 0, max_px = 0, worst_landmark_mean_px = 0, mean_mm = 0, p99_px = 0;
    std::vector<LandmarkAccuracy> per_landmark;
    std::vector<MapAccuracy> maps;
    std::vector<DecisionAccuracy> logits, visibility;
};

struct EngineRecord {
    std::string name, target, precision;
    std::map<std::string, std::string> files;  // role to path
    std::int64_t batch = 1;
    DeviceRecord device;
    std::map<std::string, std::string> versions;
    std::optional<bool> passed;  // the verdict; empty where there is none
    std::vector<std::string> reasons, notes;
    std::optional<AccuracyRecord> accuracy, golden;
    std::optional<double> p50_ms;
};

struct GoldenPicture {
    std::string image;
    std::vector<std::int64_t> shape;  // (rows, columns) or (rows, columns, 3)
    bool wide = false;                // 16 bits per sample
};
struct GoldenOutput {
    std::string name, file;
    std::vector<std::int64_t> shape;
    std::int64_t step = 1;
};
struct GoldenImage {
    std::string name, points;
    GoldenPicture picture;
    std::optional<double> spacing_row_mm, spacing_column_mm;
    std::vector<GoldenPicture> others;
    std::vector<GoldenOutput> outputs;
};

// What is null in the manifest was not judged.
struct Budgets {
    double budget_px = 0, worst_landmark_px = 0, fp32_px = 0, fp32_max_px = 0;
    std::optional<double> budget_mm, delta_mre_mm, p99_px, max_px, landmark_mre_percent;
    double map_mean = 0.01, map_ssim = 0.98, logits_agreement = 0.99, visibility_agreement = 0.99;
    std::optional<double> map_max, logits_max;
    double fp32_map_max = 0.001, fp32_logits_max = 0.01, fp32_visibility_max = 0.001;
};

struct Manifest {
    ModelSpec spec;
    std::string precision, default_engine;
    std::vector<EngineRecord> engines;
    std::int64_t preprocess_version = 0;
    std::vector<GoldenImage> golden;
    std::optional<Budgets> budgets;
    std::vector<FileRecord> files;
    std::map<std::string, std::int64_t> weight_bits;  // of graphs in INT8, path to bits

    const EngineRecord* engine(std::string_view name) const noexcept;
    const FileRecord* file(std::string_view path) const noexcept;
};

// Reads manifest.json of mahtrt.bundle/2 and /3: its schema, its own digest, every field of every
// record.
// Throws Error MAHTRT_INTEGRITY: changed, newer, or no manifest at all.
Manifest read_manifest(std::string_view bytes);

}  // namespace mahtrt

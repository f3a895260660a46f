// The records of a manifest, field by field: docs/bundle-format.md in a table.
#include "manifest_records.h"

namespace mahtrt {

// Fields with "?" before the colon are those that bundles of earlier versions do not have, and
// those that mahtrt gives a value of its own where a manifest was written by hand.
#define COUNT "int(0,9007199254740992)"
#define BATCH "int(1,65536)"
#define PIXELS "int(1,65536)"
#define CPUS "int(1,65536)"
#define MM "number(1e-9,1e9)"
#define DISTANCE "number(0,inf)"
#define SHARE "number(0,1)"
#define SIMILARITY "number(-1,1)"
#define INTERVAL "[number;2]"
#define PRECISION "<fp32|fp16|bf16|int8>"
#define DTYPE "<uint8|uint16>"

const RecordText kManifestRecords[kManifestRecordCount] = {
    {"Manifest",
     "schema:text spec:ModelSpec precision:" PRECISION
     " graphs:[GraphRecord] engines:[EngineRecord] default_engine:text preprocess_version:int"
     " created?:text versions?:{text} host?:Machine? provenance?:ProvenanceRecord?"
     " calibration?:CalibrationRecord? gate?:GateRecord? golden?:GoldenRecord?"
     " files?:[FileRecord] sha256:text"},
    {"FileRecord", "path:text sha256:text size:" COUNT},
    {"GraphRecord", "name:text file:text precision:" PRECISION " batch?:" BATCH " opset?:" COUNT
                    "? weight_bits?:int(1,64)?"},
    // `input` in place of `inputs` is that of mahtrt.spec/1.
    {"ModelSpec",
     "family:text inputs?:[InputSpec] input?:InputSpec outputs:[OutputSpec] landmarks?:[text]"
     " decode?:DecodeSpec quantize?:QuantizeSpec config?:{any} schema:text"},
    {"InputSpec",
     "size:[" PIXELS
     ";2] name?:text channels?:int color_order?:<rgb|bgr|gray> mean?:[number(-1e6,1e6)]"
     " std?:[number(1e-6,1e6)] resize?:<letterbox|stretch|center_crop> interpolation?:<area|linear"
     "|cubic|nearest|nearest_floor|antialiased_linear|antialiased_cubic> pad_value?:number"},
    {"OutputSpec",
     "name:text kind:<heatmaps|landmarks|confidence|spread|map|logits|visibility>"
     " frame?:<network|heatmap|normalized|none> labels?:[text] threshold?:" SHARE},
    {"DecodeSpec",
     "method?:<soft_argmax|dark|regression|none> temperature?:number(1e-6,1e6)"
     " heatmap_size?:[" PIXELS ";2]? sigma?:number(0.1,64)"},
    {"QuantizeSpec", "exclude?:[text]"},
    {"EngineRecord",
     "name:text target:text precision:" PRECISION " files:{text} batch?:" BATCH
     " device?:DeviceRecord versions?:{text} verdict?:VerdictRecord? accuracy?:AccuracyRecord?"
     " latency?:LatencyRecord? notes?:[text] build?:BuildRecord? golden?:AccuracyRecord?"},
    {"DeviceRecord",
     "name?:text platform?:text capabilities?:[text] inference_precision?:text"
     " threads?:" CPUS "? cores?:" CPUS "? tried_ms?:{number} settings?:{text}"},
    {"VerdictRecord", "passed:flag reasons?:[text] measured_on?:text"},
    {"LatencyRecord", "p50_ms:number p90_ms:number runs:" COUNT},
    {"AccuracyRecord",
     "images:" COUNT " non_finite_points:" COUNT
     " mean_px:number? p99_px:number? max_px:number? worst_landmark_mean_px:number?"
     " per_landmark:[LandmarkRecord] mean_px_interval?:" INTERVAL
     "? mean_mm?:number? max_mm?:number? two_peaked?:int? two_peaked_max_px?:number?"
     " two_peaked_excused?:int? new_two_peaks?:int? new_two_peaks_max_px?:number?"
     " two_peaked_points?:[TwoPeakedRecord] single_peak_p99_px?:number?"
     " single_peak_max_px?:number? annotated_points?:int annotated_points_mm?:int mre_px?:number?"
     " mre_mm?:number? reference_mre_px?:number? reference_mre_mm?:number? delta_mre_px?:number?"
     " delta_mre_mm?:number? delta_mre_px_interval?:" INTERVAL "? delta_mre_mm_interval?:" INTERVAL
     "? worst_mre_change_percent?:number? sdr_percent?:{number}? reference_sdr_percent?:{number}?"
     " delta_sdr_percent?:{number?}? delta_sdr_percent_interval?:{" INTERVAL
     "?}? maps?:[MapRecord] logits?:[LogitsRecord] visibility?:[VisibilityRecord]"},
    {"LandmarkRecord",
     "name:text mean_px:number? max_px:number? mre_px?:number? mre_mm?:number?"
     " reference_mre_px?:number? reference_mre_mm?:number? mre_change_percent?:number?"
     " mre_change_percent_interval?:" INTERVAL "? two_peaked?:int? usual_spread_px?:number?"},
    {"TwoPeakedRecord",
     "image:text landmark:text moved_px:number? spread_px:number? reference_spread_px:number?"
     " usual_spread_px:number? new?:flag reach_px?:number?"},
    {"MapRecord",
     "name:text non_finite:" COUNT " mean:number? p99:number? max:number? ssim:" SIMILARITY
     " worst_ssim:" SIMILARITY " worst_image?:text annotated_images?:" COUNT
     " mae?:number? reference_mae?:number? delta_mae?:number?"},
    {"LogitsRecord",
     "name:text non_finite:" COUNT " mean:number? max:number? decisions:" COUNT
     " disagreements:" COUNT " agreement:" SHARE " per_label:[LabelRecord] auroc?:number?"
     " reference_auroc?:number? delta_auroc?:number?"},
    {"LabelRecord", "name:text max:number? agreement:" SHARE " positives?:" COUNT
                    " negatives?:" COUNT " auroc?:number? reference_auroc?:number?"},
    {"VisibilityRecord", "name:text non_finite:" COUNT " mean:number? max:number? decisions:" COUNT
                         " disagreements:" COUNT " agreement:" SHARE " annotated?:" COUNT
                         " accuracy?:number? reference_accuracy?:number? delta_accuracy?:number?"},
    {"BuildRecord", "key:EngineKey key_sha256:text cached:flag seconds:number facts:BuildFacts"},
    {"EngineKey",
     "onnx_sha256:text precision:text flavour:text tensorrt:text platform:text gpu:text"
     " compute_capabilities:[text] cuda_driver:text workspace_mib:" COUNT
     "? optimization_level:" COUNT
     "? hardware_compatibility:text plugin_sha256?:text schema?:text"},
    {"BuildFacts", "plan_bytes:" COUNT
                   " plan_sha256:text timing_cache:<hit|miss|off> parse_s:number build_s:number"
                   " inputs:[TensorRecord] outputs:[TensorRecord] layers:{" COUNT
                   "} warnings:[text] peak_memory_mib:" COUNT "?"},
    {"TensorRecord", "name:text shape:[int] dtype:text"},
    {"Machine",
     "cpu:text architecture:text isa:[text] cores_usable:int cpu_quota:number?"
     " memory_gib:number? system:text python:text"},
    {"ProvenanceRecord", "onnx_sha256:text source:SourceRecord parity?:ParityRecord?"},
    {"SourceRecord",
     "model?:text kwargs?:{text} checkpoint?:text? checkpoint_sha256?:text?"
     " seed?:int? graph_passes?:{int?}"},
    {"ParityRecord", "rows:[ParityRowRecord] images:int runtime:text passed:flag"},
    {"ParityRowRecord",
     "output:text kind:text unit:<px|relative> max_abs:number mean_abs:number"
     " error:number tolerance:number passed:flag"},
    {"CalibrationRecord",
     "data:text images_digest:text method:text card:CardRecord skipped?:[text]"
     " percentile?:number? method_choice?:MethodChoiceRecord? bias_correction_images?:int"},
    {"CardRecord",
     "images:int digest:text methods:{int} snapshots:[SnapshotRecord]"
     " most_saturated:[TensorCardRecord] most_moved:[TensorCardRecord] warnings:[text]"},
    {"SnapshotRecord", "images:int median_percent:number largest_percent:number"},
    {"TensorCardRecord",
     "tensor:text method:text amax:number saturation:number moved_percent:number?"},
    {"MethodChoiceRecord",
     "methods:{text} error_px:number? uniform_px:number? evaluations:int complete:flag"},
    {"GateRecord", "reference:text budgets:BudgetsRecord"},
    {"BudgetsRecord",
     "budget_px:" DISTANCE " worst_landmark_px:" DISTANCE " fp32_px:" DISTANCE
     " fp32_max_px:" DISTANCE " budget_mm?:" DISTANCE "? delta_mre_mm?:number? p99_px?:" DISTANCE
     "? max_px?:" DISTANCE "? landmark_mre_percent?:number? map_mean?:" DISTANCE
     " map_max?:" DISTANCE "? map_ssim?:" SIMILARITY " logits_max?:" DISTANCE
     "? logits_agreement?:" SHARE " visibility_agreement?:" SHARE " fp32_map_max?:" DISTANCE
     " fp32_logits_max?:" DISTANCE " fp32_visibility_max?:" DISTANCE},
    {"GoldenRecord", "reference:text images?:[GoldenImage]"},
    {"GoldenImage", "name:text image:text points:text shape:[" PIXELS "] dtype:" DTYPE
                    " spacing_mm?:[" MM ";2]? others?:[GoldenPicture] outputs?:[GoldenOutput]"},
    {"GoldenPicture", "image:text shape:[" PIXELS "] dtype:" DTYPE},
    {"GoldenOutput", "name:text file:text shape:[" PIXELS "] step?:" PIXELS},
};

}  // namespace mahtrt

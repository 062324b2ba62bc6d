//! The bundled workload files: those of the reference and those of MLPerf Storage v2.0 and v3.0, with unchanged values.

use crate::vocabulary::Dialect;

/// Returns the names in alphabetical order. Names of MLPerf workloads begin with their folder: `mlperf-v3/unet3d_b200`.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// Returns the YAML text of a bundled workload.
#[must_use]
pub fn yaml(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, yaml)| *yaml)
}

/// Returns the dialect of a bundled workload whose YAML does not set it: `mlperf` for the workloads of MLPerf Storage v3.0.
#[must_use]
pub fn dialect(name: &str) -> Dialect {
    if name.starts_with("mlperf-v3/") { Dialect::Mlperf } else { Dialect::Native }
}

const FILES: &[(&str, &str)] = &[
    ("bert_v100", include_str!("../../../workloads/bert_v100.yaml")),
    ("cosmoflow_a100", include_str!("../../../workloads/cosmoflow_a100.yaml")),
    ("cosmoflow_h100", include_str!("../../../workloads/cosmoflow_h100.yaml")),
    ("cosmoflow_v100", include_str!("../../../workloads/cosmoflow_v100.yaml")),
    ("default", include_str!("../../../workloads/default.yaml")),
    ("dlrm", include_str!("../../../workloads/dlrm.yaml")),
    ("llama_1t", include_str!("../../../workloads/llama_1t.yaml")),
    ("llama_405b", include_str!("../../../workloads/llama_405b.yaml")),
    ("llama_70b", include_str!("../../../workloads/llama_70b.yaml")),
    ("llama_70b_zero3", include_str!("../../../workloads/llama_70b_zero3.yaml")),
    ("llama_7b", include_str!("../../../workloads/llama_7b.yaml")),
    ("llama_7b_zero3", include_str!("../../../workloads/llama_7b_zero3.yaml")),
    ("llama_8b_zero3", include_str!("../../../workloads/llama_8b_zero3.yaml")),
    ("megatron_deepspeed_LLNL", include_str!("../../../workloads/megatron_deepspeed_LLNL.yaml")),
    ("mlperf-v2/cosmoflow_a100", include_str!("../../../workloads/mlperf-v2/cosmoflow_a100.yaml")),
    ("mlperf-v2/cosmoflow_datagen", include_str!("../../../workloads/mlperf-v2/cosmoflow_datagen.yaml")),
    ("mlperf-v2/cosmoflow_h100", include_str!("../../../workloads/mlperf-v2/cosmoflow_h100.yaml")),
    ("mlperf-v2/llama3_1t", include_str!("../../../workloads/mlperf-v2/llama3_1t.yaml")),
    ("mlperf-v2/llama3_405b", include_str!("../../../workloads/mlperf-v2/llama3_405b.yaml")),
    ("mlperf-v2/llama3_70b", include_str!("../../../workloads/mlperf-v2/llama3_70b.yaml")),
    ("mlperf-v2/llama3_8b", include_str!("../../../workloads/mlperf-v2/llama3_8b.yaml")),
    ("mlperf-v2/resnet50_a100", include_str!("../../../workloads/mlperf-v2/resnet50_a100.yaml")),
    ("mlperf-v2/resnet50_datagen", include_str!("../../../workloads/mlperf-v2/resnet50_datagen.yaml")),
    ("mlperf-v2/resnet50_h100", include_str!("../../../workloads/mlperf-v2/resnet50_h100.yaml")),
    ("mlperf-v2/unet3d_a100", include_str!("../../../workloads/mlperf-v2/unet3d_a100.yaml")),
    ("mlperf-v2/unet3d_datagen", include_str!("../../../workloads/mlperf-v2/unet3d_datagen.yaml")),
    ("mlperf-v2/unet3d_h100", include_str!("../../../workloads/mlperf-v2/unet3d_h100.yaml")),
    ("mlperf-v3/dlrm_b200", include_str!("../../../workloads/mlperf-v3/dlrm_b200.yaml")),
    ("mlperf-v3/dlrm_datagen", include_str!("../../../workloads/mlperf-v3/dlrm_datagen.yaml")),
    ("mlperf-v3/dlrm_mi355", include_str!("../../../workloads/mlperf-v3/dlrm_mi355.yaml")),
    ("mlperf-v3/flux_b200", include_str!("../../../workloads/mlperf-v3/flux_b200.yaml")),
    ("mlperf-v3/flux_datagen", include_str!("../../../workloads/mlperf-v3/flux_datagen.yaml")),
    ("mlperf-v3/flux_mi355", include_str!("../../../workloads/mlperf-v3/flux_mi355.yaml")),
    ("mlperf-v3/llama3_1t", include_str!("../../../workloads/mlperf-v3/llama3_1t.yaml")),
    ("mlperf-v3/llama3_405b", include_str!("../../../workloads/mlperf-v3/llama3_405b.yaml")),
    ("mlperf-v3/llama3_70b", include_str!("../../../workloads/mlperf-v3/llama3_70b.yaml")),
    ("mlperf-v3/llama3_8b", include_str!("../../../workloads/mlperf-v3/llama3_8b.yaml")),
    ("mlperf-v3/retinanet_b200", include_str!("../../../workloads/mlperf-v3/retinanet_b200.yaml")),
    ("mlperf-v3/retinanet_datagen", include_str!("../../../workloads/mlperf-v3/retinanet_datagen.yaml")),
    ("mlperf-v3/retinanet_mi355", include_str!("../../../workloads/mlperf-v3/retinanet_mi355.yaml")),
    ("mlperf-v3/unet3d_a100", include_str!("../../../workloads/mlperf-v3/unet3d_a100.yaml")),
    ("mlperf-v3/unet3d_b200", include_str!("../../../workloads/mlperf-v3/unet3d_b200.yaml")),
    ("mlperf-v3/unet3d_datagen", include_str!("../../../workloads/mlperf-v3/unet3d_datagen.yaml")),
    ("mlperf-v3/unet3d_h100", include_str!("../../../workloads/mlperf-v3/unet3d_h100.yaml")),
    ("resnet50_a100", include_str!("../../../workloads/resnet50_a100.yaml")),
    ("resnet50_h100", include_str!("../../../workloads/resnet50_h100.yaml")),
    ("resnet50_tf", include_str!("../../../workloads/resnet50_tf.yaml")),
    ("resnet50_v100", include_str!("../../../workloads/resnet50_v100.yaml")),
    ("unet3d_a100", include_str!("../../../workloads/unet3d_a100.yaml")),
    ("unet3d_a100_s3", include_str!("../../../workloads/unet3d_a100_s3.yaml")),
    ("unet3d_h100", include_str!("../../../workloads/unet3d_h100.yaml")),
    ("unet3d_h100_s3", include_str!("../../../workloads/unet3d_h100_s3.yaml")),
    ("unet3d_v100", include_str!("../../../workloads/unet3d_v100.yaml")),
    ("unet3d_v100_s3", include_str!("../../../workloads/unet3d_v100_s3.yaml")),
];

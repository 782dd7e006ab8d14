// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import Foundation

extension TransformerSpec {
  /// Reads a Hugging Face config.json. Where a generation_config.json lies beside it, the ids that
  /// it ends answers at are added: instruction models name several only there.
  ///
  /// - Parameter url: The config.json.
  /// - Throws: `EngineError` that names the file and the field at fault.
  public init(configuration url: URL) throws {
    let config = try JSONFile(url)
    let type = try config.required("model_type", config.string)
    try self.init(Architecture(modelType: type, place: url.path), config)
    let generation = url.deletingLastPathComponent().appendingPathComponent(
      "generation_config.json")
    if FileManager.default.fileExists(atPath: generation.path) {
      let file = try JSONFile(generation)
      var ids = try file.ids("eos_token_id")
      for id in endOfSequence where !ids.contains(id) { ids.append(id) }
      endOfSequence = ids
    }
    // Some configurations name ids of a larger family's vocabulary; the model cannot emit those.
    endOfSequence.removeAll { $0 < 0 || Int($0) >= vocabularySize }
    if let id = beginOfSequence, id < 0 || Int(id) >= vocabularySize { beginOfSequence = nil }
    try validated(url.path)
  }

  /// The type that a config.json says its weights have: `bfloat16`; nil where it does not.
  ///
  /// - Throws: `EngineError` that names the field which is no string.
  package static func weightType(configuration url: URL) throws -> String? {
    let config = try JSONFile(url)
    return try config.string("dtype") ?? config.string("torch_dtype")
  }

  /// The spec that the fields of a config.json describe.
  init(_ architecture: Architecture, _ config: JSONFile) throws {
    if config.fields["quantization_config"] ?? .null != .null {
      throw config.refused(
        "quantization_config", "weights quantised this way are not read; take the plain model")
    }
    try config.refuseOtherNetworks(but: architecture.ownFields)
    self = try architecture.readConfiguration(config)
  }
}

extension JSONFile {
  /// Refuses the fields that other networks have and that change the numbers. transformers passes
  /// over them in these families; whoever wrote one meant it.
  fileprivate func refuseOtherNetworks(but own: Set<String>) throws {
    for (key, neutral) in Self.neutralNumbers where !own.contains(key) {
      if case .bool(let value)? = fields[key] {
        guard value else { continue }
        throw refused(key, "true is not supported")
      }
      if let value = try number(key), value != neutral {
        throw refused(key, "\(value) is not supported")
      }
    }
    for key in Self.switches where !own.contains(key) {
      switch fields[key] {
      case nil, .null, .bool(false), .int(0), .array([]): continue
      default: throw refused(key, "is not supported")
      }
    }
  }

  /// Factors and caps, with the value that leaves the numbers alone.
  private static let neutralNumbers: [(String, Double)] = [
    ("attn_logit_softcapping", 0), ("final_logit_softcapping", 0), ("logits_soft_cap", 0),
    ("attention_logit_cap", 0), ("clip_qkv", 0), ("residual_multiplier", 1),
    ("embedding_multiplier", 1), ("logits_scaling", 1), ("logit_scale", 1), ("scale_emb", 1),
    ("attention_multiplier", 0), ("query_pre_attn_scalar", 0), ("scale_depth", 0),
    ("dim_model_base", 0), ("attention_chunk_size", 0), ("rotary_pct", 1),
  ]

  /// Parts that the networks read here do not have.
  private static let switches = [
    "num_local_experts", "num_experts", "n_routed_experts", "moe_intermediate_size", "alibi",
    "use_parallel_residual", "parallel_attn", "use_mrope", "mrope_section", "no_rope_layers",
    "is_encoder_decoder", "use_cross_attention", "cross_attention_layers", "kv_lora_rank",
    "q_lora_rank", "qk_layernorm",
  ]
}

// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// GPT-2: LayerNorm, learned positions, GELU. Its files keep queries, keys and values as one
  /// tensor, which an adapter beside each does not fit.
  public static let gpt2: Architecture = .init(
    name: "gpt2", title: "GPT-2", className: "GPT2", languageClass: "LMHeadModel",
    trunkPrefix: "transformer.", hasAdapterFormat: false,
    leftovers: [".attn.bias", ".attn.masked_bias"],
    readConfiguration: { try $0.gpt2Spec() },
    writeConfiguration: { spec in
      let activation = gpt2Activations.first { $0.mlp == spec.mlp }?.name
      return [
        "vocab_size": .int(spec.vocabularySize), "n_embd": .int(spec.width),
        "n_layer": .int(spec.layers), "n_head": .int(spec.heads),
        "n_inner": .int(spec.mlpWidth), "n_positions": .int(spec.maximumPositions),
        "layer_norm_epsilon": .double(spec.normEpsilon),
        "activation_function": .string(activation ?? "gelu_new"),
        "attn_pdrop": .double(0), "embd_pdrop": .double(0), "resid_pdrop": .double(0),
      ]
    },
    readMetadata: { keys in
      var spec = try keys.spec(.gpt2, norm: .layer, epsilon: "attention.layer_norm_epsilon")
      spec.mlp = .gelu
      (spec.queryKeyValueBias, spec.attentionOutputBias, spec.mlpBias) = (true, true, true)
      return spec
    },
    writeMetadata: { try $0.ggufFields("gpt2", outputBias: true, mlpBias: true) },
    huggingFace: { tensor, spec in
      let module: String
      switch tensor.role {
      case .embedding: module = "wte"
      case .positionEmbedding: module = "wpe"
      case .inputNorm: module = "ln_1"
      case .query, .key, .value: module = "attn.c_attn"
      case .output: module = "attn.c_proj"
      case .middleNorm: module = "ln_2"
      case .up: module = "mlp.c_fc"
      case .down: module = "mlp.c_proj"
      case .finalNorm: module = "ln_f"
      default: return StoredTensor(tensor.name, tensor.shape)
      }
      let layer = tensor.layer.map { "h.\($0)." } ?? ""
      let name = "transformer.\(layer)\(module).\(tensor.kind)"
      let (columns, whole) = spec.fusedRows(of: tensor)
      if tensor.layer != nil, tensor.isMatrix {
        return StoredTensor(name, [tensor.shape[1], whole], .transposed(columns: columns))
      }
      return spec.fused(tensor, in: name)
    },
    gguf: { tensor, spec in
      spec.fusedInGGUF(tensor)
    })
}

/// The names of GPT-2's activations, those that are written first.
private let gpt2Activations: [(name: String, mlp: TransformerSpec.MLP)] = [
  ("gelu_new", .gelu), ("gelu", .exactGELU), ("relu", .relu), ("gelu_pytorch_tanh", .gelu),
  ("gelu_fast", .gelu), ("gelu_python", .exactGELU),
]

extension JSONFile {
  fileprivate func gpt2Spec() throws -> TransformerSpec {
    let activation = try string("activation_function") ?? "gelu_new"
    guard let mlp = gpt2Activations.first(where: { $0.name == activation })?.mlp else {
      let known = gpt2Activations.map(\.name).joined(separator: ", ")
      throw refused(
        "activation_function", "'\(activation)' is not supported, only \(known)")
    }
    // `reorder_and_upcast_attn` changes only how half-precision numbers are computed.
    for (key, wanted) in [
      ("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false),
      ("add_cross_attention", false),
    ] where try bool(key) ?? wanted != wanted {
      throw refused(key, "\(!wanted) is not supported")
    }
    let width = try required("n_embd", integer)
    let heads = try required("n_head", integer)
    guard heads < 1 || width % heads == 0 else {
      throw EngineError(
        .badModel, "\(path): n_embd \(width) is not a multiple of n_head \(heads)")
    }
    return TransformerSpec(
      architecture: .gpt2,
      vocabularySize: try required("vocab_size", integer),
      width: width,
      layers: try required("n_layer", integer),
      heads: heads,
      mlpWidth: try integer("n_inner") ?? width.multipliedReportingOverflow(by: 4).0,
      maximumPositions: try required("n_positions", integer),
      norm: .layer,
      normEpsilon: try number("layer_norm_epsilon") ?? 1e-5,
      positions: .learned,
      mlp: mlp,
      queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true,
      tiedHead: try bool("tie_word_embeddings") ?? true,
      beginOfSequence: try ids("bos_token_id").first,
      endOfSequence: try ids("eos_token_id"))
  }
}

// SPDX-License-Identifier: Apache-2.0

/// Where a canonical tensor lies in a file, and what makes it the canonical one.
package struct StoredTensor: Sendable, Equatable {
  package enum Layout: Sendable, Equatable {
    /// As it is.
    case plain
    /// The file holds `[input, outputs of all parts]` (GPT-2's Conv1D): these columns, transposed.
    case transposed(columns: Range<Int>)
    /// The file holds several tensors one after another: these rows.
    case rows(Range<Int>)
    /// Each head's rows lie as rotated pairs, (0, C/2, 1, C/2 + 1, …): GGUF's Llama.
    case rotaryPairs(heads: Int)
  }

  /// Its name in the file.
  package var name: String
  /// The whole file tensor's shape, row-major.
  package var shape: [Int]
  package var layout: Layout

  package init(_ name: String, _ shape: [Int], _ layout: Layout = .plain) {
    self.name = name
    self.shape = shape
    self.layout = layout
  }
}

extension Architecture {
  /// Where a tensor lies in a Hugging Face safetensors file of a whole model.
  package func huggingFace(
    _ tensor: TransformerSpec.Tensor, _ spec: TransformerSpec
  ) -> StoredTensor {
    guard self == .gpt2 else { return StoredTensor(tensor.name, tensor.shape) }
    let (module, kind) = Self.split(tensor)
    let name: String
    switch module {
    case "model.embed_tokens": name = "transformer.wte"
    case "model.embed_positions": name = "transformer.wpe"
    case "model.norm": name = "transformer.ln_f"
    case "lm_head", "score": name = module
    default:
      let renamed = [
        "input_layernorm": "ln_1", "self_attn.q_proj": "attn.c_attn",
        "self_attn.k_proj": "attn.c_attn", "self_attn.v_proj": "attn.c_attn",
        "self_attn.o_proj": "attn.c_proj", "post_attention_layernorm": "ln_2",
        "mlp.up_proj": "mlp.c_fc", "mlp.down_proj": "mlp.c_proj",
      ]
      name = "transformer.h.\(tensor.layer ?? 0).\(renamed[module] ?? module)"
    }
    let full = "\(name).\(kind)"
    if let (part, whole) = Self.fusedPart(module, spec) {
      return kind == "bias"
        ? StoredTensor(full, [whole], .rows(part))
        : StoredTensor(full, [spec.width, whole], .transposed(columns: part))
    }
    if tensor.layer != nil, tensor.shape.count == 2 {
      return StoredTensor(
        full, [tensor.shape[1], tensor.shape[0]], .transposed(columns: 0..<tensor.shape[0]))
    }
    return StoredTensor(full, tensor.shape)
  }

  /// Where a tensor lies in a GGUF file.
  package func gguf(_ tensor: TransformerSpec.Tensor, _ spec: TransformerSpec) -> StoredTensor {
    let (module, kind) = Self.split(tensor)
    let outer = [
      "model.embed_tokens": "token_embd", "model.embed_positions": "position_embd",
      "model.norm": "output_norm", "lm_head": "output", "score": "cls.output",
    ]
    if let name = outer[module] { return StoredTensor("\(name).\(kind)", tensor.shape) }
    let inner = [
      "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
      "self_attn.v_proj": "attn_v", "self_attn.q_norm": "attn_q_norm",
      "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output",
      "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
      "mlp.down_proj": "ffn_down",
    ]
    let block = "blk.\(tensor.layer ?? 0)."
    if self == .gpt2, let (part, whole) = Self.fusedPart(module, spec) {
      let shape = [whole] + tensor.shape.dropFirst()
      return StoredTensor("\(block)attn_qkv.\(kind)", shape, .rows(part))
    }
    let layout: StoredTensor.Layout =
      switch (self, module) {
      case (.llama, "self_attn.q_proj"): .rotaryPairs(heads: spec.heads)
      case (.llama, "self_attn.k_proj"): .rotaryPairs(heads: spec.keyValueHeads)
      default: .plain
      }
    return StoredTensor("\(block)\(inner[module] ?? module).\(kind)", tensor.shape, layout)
  }

  /// The module within its layer, and "weight" or "bias".
  private static func split(_ tensor: TransformerSpec.Tensor) -> (module: String, kind: String) {
    let dot = tensor.name.lastIndex(of: ".") ?? tensor.name.endIndex
    var module = String(tensor.name[..<dot])
    if let layer = tensor.layer {
      module = String(module.dropFirst("model.layers.\(layer).".count))
    }
    return (module, String(tensor.name[dot...].dropFirst()))
  }

  /// Which outputs of GPT-2's one projection for queries, keys and values a module's are.
  private static func fusedPart(
    _ module: String, _ spec: TransformerSpec
  ) -> (part: Range<Int>, whole: Int)? {
    let queries = spec.heads * spec.headWidth
    let keys = spec.keyValueHeads * spec.headWidth
    let whole = queries + 2 * keys
    switch module {
    case "self_attn.q_proj": return (0..<queries, whole)
    case "self_attn.k_proj": return (queries..<queries + keys, whole)
    case "self_attn.v_proj": return (queries + keys..<whole, whole)
    default: return nil
    }
  }

  /// Whether a tensor in a file may be left aside: buffers that older versions saved, and what a
  /// GGUF file says of rotary frequencies, which the spec holds already.
  package func isLeftover(_ name: String) -> Bool {
    self == .gpt2
      ? name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias")
      : name.hasSuffix(".rotary_emb.inv_freq") || name == "rope_freqs.weight"
  }
}

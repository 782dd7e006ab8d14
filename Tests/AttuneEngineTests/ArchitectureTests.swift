// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneTestSupport
import Foundation
import Testing

struct ArchitectureTests {
  private static let llama =
    """
    "model_type":"llama","vocab_size":96,"hidden_size":32,"intermediate_size":48,
    "num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":64
    """

  /// The spec of a config.json with these fields.
  private static func spec(_ fields: String, generation: String? = nil) throws -> TransformerSpec {
    try withTemporaryFolder { folder in
      let config = folder.appendingPathComponent("config.json")
      try Data("{\(fields)}".utf8).write(to: config)
      if let generation {
        try Data(generation.utf8).write(
          to: folder.appendingPathComponent("generation_config.json"))
      }
      return try TransformerSpec(configuration: config)
    }
  }

  private static func refusal(_ fields: String) throws -> String {
    try #require(throws: EngineError.self, "\(fields)") { _ = try spec(fields) }.message
  }

  @Test func `what a config does not say is as in transformers`() throws {
    let spec = try Self.spec(Self.llama)
    #expect(
      spec
        == TransformerSpec(
          architecture: .llama, vocabularySize: 96, width: 32, layers: 2, heads: 4, mlpWidth: 48,
          maximumPositions: 64, normEpsilon: 1e-6))
    #expect(spec.keyValueHeads == 4 && spec.headWidth == 8 && !spec.tiedHead)
    let qwen = try Self.spec(Self.llama.replacingOccurrences(of: "llama", with: "qwen3"))
    #expect(qwen.headWidth == 128 && qwen.queryKeyNorm == .head && !qwen.queryKeyValueBias)
    let mistral = try Self.spec(
      Self.llama.replacingOccurrences(of: "llama", with: "mistral") + ",\"sliding_window\":null")
    #expect(mistral.architecture == .mistral && mistral.layerAttention.isEmpty)
    // Without the field transformers' Mistral has a window of 4,096, which hides nothing of 64.
  }

  @Test func `MiniCPM is read as Granite with its scales`() throws {
    let spec = try Self.spec(
      Self.llama.replacingOccurrences(of: "llama", with: "minicpm")
        + ",\"scale_emb\":12,\"scale_depth\":1.4,\"dim_model_base\":8")
    let granite = try Self.spec(
      Self.llama.replacingOccurrences(of: "llama", with: "granite")
        + ",\"embedding_multiplier\":12,\"residual_multiplier\":\(1.4 / 2.0.squareRoot()),"
        + "\"logits_scaling\":4,\"attention_multiplier\":\(1 / 8.0.squareRoot())")
    #expect(spec == granite && spec.architecture == .granite)
    #expect(
      try Self.refusal(
        Self.llama.replacingOccurrences(of: "llama", with: "minicpm") + ",\"scale_depth\":-1"
      ).contains("scale_depth: -1.0 must be a number above 0"))
  }

  @Test func `layers have windows and rotations of their own`() throws {
    func fields(_ type: String, _ more: String) -> String {
      Self.llama.replacingOccurrences(of: "llama", with: type)
        .replacingOccurrences(of: "\"num_hidden_layers\":2", with: "\"num_hidden_layers\":6") + more
    }
    func windows(_ spec: TransformerSpec) -> [Int?] { spec.layerAttention.map(\.window) }
    let gemma = try Self.spec(
      fields("gemma3_text", ",\"sliding_window\":8,\"rope_local_base_freq\":100"))
    #expect(windows(gemma) == [8, 8, 8, 8, 8, nil])
    #expect(gemma.layerAttention[0].positions == .rotary(theta: 100, scaling: .none))
    #expect(gemma.layerAttention[5].positions == .rotary(theta: 1_000_000, scaling: .none))
    #expect(gemma.embeddingScale == 32.0.squareRoot() && gemma.attentionScale == nil)
    let smollm = try Self.spec(fields("smollm3", ""))
    #expect(
      smollm.layerAttention.map { $0.positions == nil } == [
        false, false, false, true, false, false,
      ])
    let exaone = try Self.spec(
      fields("exaone4", ",\"sliding_window\":8,\"sliding_window_pattern\":\"LG\""))
    #expect(windows(exaone) == [8, nil, 8, nil, 8, nil])
    #expect(exaone.layerAttention[1].positions == nil)
    for (type, more, expected) in [
      ("gemma3_text", ",\"sliding_window\":0", "sliding_window: 0 is no width"),
      ("gemma3", ",\"text_config\":{}", "models that see images are not read"),
      ("gemma2", ",\"final_logit_softcapping\":-1", "the cap of logits is -1.0"),
      (
        "smollm3", ",\"no_rope_layers\":[1,2]",
        "no_rope_layers is not a list of 0 or 1 for each of 6"
      ),
      (
        "exaone4", ",\"sliding_window_pattern\":\"LX\"",
        "neither a number above 0 nor a text of L and G"
      ),
      ("granitemoehybrid", ",\"layer_types\":[\"mamba\"]", "state-space layers are not supported"),
      ("phi3", ",\"partial_rotary_factor\":1.5", "partial_rotary_factor: 1.5 is not above 0"),
      ("granite", ",\"residual_multiplier\":0", "the residual scale is 0.0, it must be above 0"),
      ("stablelm", ",\"use_parallel_residual\":true", "use_parallel_residual: is not supported"),
    ] {
      let message = try Self.refusal(fields(type, more))
      #expect(message.contains(expected), "\(message)")
    }
  }

  @Test func `both spellings of rotary settings are read`() throws {
    let expected = TransformerSpec.Positions.rotary(
      theta: 500000,
      scaling: .llama3(
        factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaximumPositions: 8192))
    let rule =
      """
      "factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
      "original_max_position_embeddings":8192,"rope_type":"llama3"
      """
    let older = try Self.spec(Self.llama + ",\"rope_theta\":500000,\"rope_scaling\":{\(rule)}")
    let newer = try Self.spec(Self.llama + ",\"rope_parameters\":{\(rule),\"rope_theta\":5e5}")
    #expect(older.positions == expected)
    #expect(newer.positions == expected)
    let linear = try Self.spec(Self.llama + ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}")
    #expect(linear.positions == .rotary(theta: 10000, scaling: .linear(factor: 2)))
    let plain = try Self.spec(Self.llama + ",\"rope_scaling\":null,\"rope_theta\":100.5")
    #expect(plain.positions == .rotary(theta: 100.5, scaling: .none))
  }

  @Test func `ends of an answer come from the generation config first`() throws {
    let fields = Self.llama + ",\"eos_token_id\":7,\"bos_token_id\":3"
    let spec = try Self.spec(fields, generation: "{\"eos_token_id\":[9,7,400]}")
    // 400 lies outside the vocabulary: the model cannot say it.
    #expect(spec.endOfSequence == [9, 7])
    #expect(spec.beginOfSequence == 3)
    #expect(try Self.spec(Self.llama + ",\"eos_token_id\":[4,5]").endOfSequence == [4, 5])
  }

  static let refused: [(String, String)] = [
    (
      ",\"model_type\":\"mamba\"",
      "'mamba' are not supported, only llama, mistral, ministral, qwen2"
    ),
    (",\"model_type\":\"lfm2\"", "'lfm2' are not read yet: they have short gated convolutions"),
    (",\"model_type\":\"qwen3_5_text\"", "are not read yet: they have gated delta nets"),
    (",\"model_type\":\"mixtral\"", "'mixtral' are not supported"),
    (",\"hidden_act\":\"relu\"", "hidden_act: 'relu' is not supported"),
    (",\"layer_types\":[\"full_attention\"]", "layer_types: has 1 names for 2 layers"),
    (
      ",\"layer_types\":[\"full_attention\",\"sliding_attention\"],\"sliding_window\":9",
      "sliding_window: Llama has none; Mistral (model_type) does"
    ),
    (",\"layer_types\":[\"chunked_attention\",\"x\"]", "'chunked_attention' is not supported"),
    (
      ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]",
      "sliding_attention without a sliding_window"
    ),
    (",\"sliding_window\":-4,\"use_sliding_window\":true", "sliding_window: -4 is no width"),
    (",\"attn_logit_softcapping\":50.0", "attn_logit_softcapping: 50.0 is not supported"),
    (",\"final_logit_softcapping\":30", "final_logit_softcapping: 30.0 is not supported"),
    (",\"residual_multiplier\":0.2", "residual_multiplier: 0.2 is not supported"),
    (",\"embedding_multiplier\":12", "embedding_multiplier: 12.0 is not supported"),
    (",\"logits_scaling\":8", "logits_scaling: 8.0 is not supported"),
    (",\"num_local_experts\":8", "num_local_experts: is not supported"),
    (",\"no_rope_layers\":[0,1]", "no_rope_layers: is not supported"),
    (",\"attention_chunk_size\":64", "attention_chunk_size: 64.0 is not supported"),
    (",\"rope_scaling\":{\"rope_type\":\"longrope\"}", "rope_scaling.short_factor is not a list"),
    (",\"rope_scaling\":{\"rope_type\":\"linear\"}", "rope_scaling.factor is missing"),
    (",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}", "rope_scaling.factor: 0.0 must be"),
    (",\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}", "rope_scaling.factor: -1.0 must be"),
    (",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":-1}", "rope_scaling.factor: -1.0 must be"),
    (
      ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"beta_slow\":40}",
      "scaling's beta_fast is 32.0, it must be above beta_slow"
    ),
    (
      ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":-3}",
      "scaling's attention_factor is -3.0"
    ),
    (
      ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"short_factor\":[1]}",
      "rope_scaling.short_factor: is not supported"
    ),
    (
      ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5}}",
      "rope_parameters.full_attention: is not supported"
    ),
    (",\"rope_scaling\":7", "rope_scaling is not an object"),
    (",\"partial_rotary_factor\":0.5", "partial_rotary_factor: 0.5"),
    (",\"quantization_config\":{\"bits\":4}", "quantization_config"),
    (",\"hidden_size\":\"32\"", "hidden_size is not a whole number"),
    (",\"hidden_size\":3.5", "hidden_size is not a whole number"),
    (",\"hidden_size\":1e300", "hidden_size is not a whole number"),
    (",\"hidden_size\":null", "hidden_size is missing"),
    (",\"num_hidden_layers\":0", "the number of layers is 0"),
    (",\"num_hidden_layers\":9223372036854775807", "the number of layers is 92233"),
    (",\"vocab_size\":-1", "the vocabulary size is -1"),
    (",\"num_attention_heads\":0", "the number of heads is 0"),
    (",\"num_key_value_heads\":3", "4 heads cannot be shared among 3"),
    (",\"head_dim\":7", "even head width"),
    (",\"rope_theta\":-1", "the rotary base is -1"),
    (",\"rms_norm_eps\":-1", "epsilon"),
    (",\"tie_word_embeddings\":1", "tie_word_embeddings is not true or false"),
    (",\"eos_token_id\":\"</s>\"", "eos_token_id is not a token id"),
  ]

  @Test(arguments: refused.indices)
  func `what is not supported is refused by name`(index: Int) throws {
    // The added field takes the place of the one of the same name.
    let (added, expected) = Self.refused[index]
    var fields = Self.llama
    for name in added.split(separator: "\"").map(String.init) where fields.contains("\"\(name)\":")
    {
      let pattern = try Regex("\"\(name)\":[^,]*,?\\s*")
      fields = fields.replacing(pattern, with: "")
    }
    while fields.hasSuffix(",") || fields.hasSuffix("\n") { fields.removeLast() }
    let message = try Self.refusal(fields + added)
    #expect(message.contains(expected), "\(message)")
    #expect(message.contains("config.json: "))
  }

  @Test func `GPT-2's own switches are refused by name`() throws {
    let fields =
      """
      "model_type":"gpt2","vocab_size":96,"n_embd":32,"n_layer":2,"n_head":4,"n_positions":48
      """
    let spec = try Self.spec(fields)
    #expect(spec.mlpWidth == 128 && spec.tiedHead && spec.positions == .learned)
    for (added, expected) in [
      (",\"activation_function\":\"tanh\"", "'tanh' is not supported, only gelu_new, gelu, relu"),
      (",\"scale_attn_by_inverse_layer_idx\":true", "scale_attn_by_inverse_layer_idx"),
      (",\"scale_attn_weights\":false", "scale_attn_weights"),
    ] {
      #expect(try Self.refusal(fields + added).contains(expected))
    }
    let uneven = fields.replacingOccurrences(of: "\"n_head\":4", with: "\"n_head\":5")
    #expect(try Self.refusal(uneven).contains("not a multiple"))
  }

  @Test(arguments: Fixtures.models)
  func `every tensor of a model is found, in its shape`(name: String) throws {
    let checkpoint = try Checkpoint.open(Fixtures.url("models/\(name)"))
    #expect(checkpoint.tensors.names == checkpoint.spec.tensors.map(\.name))
    for tensor in checkpoint.spec.tensors {
      #expect(checkpoint.tensors.shape(of: tensor.name) == tensor.shape)
    }
    // The gradients were written under canonical names by the fixtures' script.
    let gradients = try Safetensors.File(Fixtures.url("models/\(name)/gradients.safetensors"))
    #expect(Set(gradients.names) == Set(checkpoint.tensors.names))
    for name in gradients.names {
      #expect(gradients.shape(of: name) == checkpoint.tensors.shape(of: name))
    }
    #expect(!checkpoint.hasScalarHead)
    #expect(
      checkpoint.spec.parameterCount == checkpoint.spec.tensors.reduce(0) { $0 + $1.count })
  }

  @Test func `GPT-2's fused projection is split and transposed`() throws {
    let folder = Fixtures.url("models/gpt2")
    let file = try Safetensors.File(folder.appendingPathComponent("model.safetensors"))
    let fused = try file.read("transformer.h.1.attn.c_attn.weight")
    let bias = try file.read("transformer.h.1.attn.c_attn.bias")
    let tensors = try Checkpoint.open(folder).tensors
    for (part, letter) in ["q", "k", "v"].enumerated() {
      let weight = try tensors.read("model.layers.1.self_attn.\(letter)_proj.weight")
      #expect(weight[5 * 32 + 9] == fused[9 * 96 + part * 32 + 5])
      let biases = try tensors.read("model.layers.1.self_attn.\(letter)_proj.bias")
      #expect(biases == Array(bias[part * 32..<part * 32 + 32]))
    }
  }

  // MARK: - Rotary frequencies

  @Test func `Llama 3's rule keeps high frequencies, divides low ones and blends between`() {
    let spec = TransformerSpec(
      architecture: .llama, vocabularySize: 8, width: 64, layers: 1, heads: 1, mlpWidth: 8,
      maximumPositions: 131072,
      positions: .rotary(
        theta: 500000,
        scaling: .llama3(
          factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaximumPositions: 8192)
      ))
    // As transformers 5.23 computes them in float32.
    let expected: [(Int, Double)] = [
      (0, 1.0), (10, 0.016560440883040428), (16, 0.0005248460220173001),
      (20, 3.428102354519069e-05), (31, 3.76732259610435e-07),
    ]
    for (index, value) in expected {
      #expect(abs(spec.rotaryFrequencies[index] / value - 1) < 2e-6, "\(index)")
    }
    #expect(spec.rotaryAmplitude == 1)
  }

  @Test func `YaRN's frequencies and amplitude are those of transformers`() {
    let spec = TransformerSpec(
      architecture: .qwen2, vocabularySize: 8, width: 64, layers: 1, heads: 1, mlpWidth: 8,
      maximumPositions: 131072,
      positions: .rotary(
        theta: 1_000_000,
        scaling: .yarn(
          factor: 4, attentionFactor: 1.138629436111989, betaFast: 32, betaSlow: 1,
          originalMaximumPositions: 32768)))
    let expected: [(Int, Double)] = [
      (0, 1.0), (8, 0.03162277862429619), (11, 0.00865964312106371), (14, 0.0017785303061828017),
      (17, 0.00032469083089381456), (24, 7.905693564680405e-06), (31, 3.8498163235090033e-07),
    ]
    for (index, value) in expected {
      #expect(abs(spec.rotaryFrequencies[index] / value - 1) < 2e-6, "\(index)")
    }
    #expect(spec.rotaryAmplitude == 1.138629436111989)
  }
}

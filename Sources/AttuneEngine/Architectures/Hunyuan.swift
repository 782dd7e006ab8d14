// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import Foundation

extension Architecture {
  /// Hunyuan without experts: Llama with queries and keys normalised behind their rotation, whose base is
  /// stretched for long texts.
  public static let hunyuan: Architecture = .init(
    name: "hunyuan_v1_dense", otherNames: ["hunyuan-dense"], title: "Hunyuan",
    className: "HunYuanDenseV1",
    readConfiguration: { config in
      var plain = config.fields
      plain["rope_parameters"] = nil
      plain["rope_scaling"] = nil
      var spec = try JSONFile(path: config.path, fields: plain).llamaSpec(.hunyuan)
      spec.normEpsilon = try config.number("rms_norm_eps") ?? 1e-5
      spec.queryKeyNorm = .headAfterRotation
      let width = Double(max(spec.headWidth, 3))
      for key in ["rope_parameters", "rope_scaling"] {
        guard let rule = try config.object(key), let alpha = try rule.number("alpha"), alpha != 0
        else { continue }
        guard alpha.isFinite, alpha > 0 else {
          throw rule.refused("alpha", "\(alpha) must be a number above 0")
        }
        let theta = try rule.number("rope_theta") ?? config.number("rope_theta") ?? 10_000
        spec.positions = .rotary(theta: theta * pow(alpha, width / (width - 2)), scaling: .none)
        return spec
      }
      spec.positions = try config.rotary()
      return spec
    },
    writeConfiguration: { $0.llamaFields(["attention_bias": .bool($0.queryKeyValueBias)]) },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.hunyuan)
      spec.queryKeyNorm = .headAfterRotation
      return spec
    },
    writeMetadata: { try $0.ggufFields("hunyuan-dense") },
    huggingFace: { tensor, _ in
      var name = tensor.name
      if tensor.role == .queryNorm || tensor.role == .keyNorm {
        let norm = tensor.role == .queryNorm ? "query" : "key"
        name = "model.layers.\(tensor.layer ?? 0).self_attn.\(norm)_layernorm.weight"
      }
      return StoredTensor(name, tensor.shape)
    })
}

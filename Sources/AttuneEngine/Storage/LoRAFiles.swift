// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import Foundation

/// Adapters as PEFT keeps them: a folder with adapter_config.json and adapter_model.safetensors.
///
/// Tensors have the names of `LanguageModel.trainedParameters` here
/// (`model.layers.3.self_attn.q_proj.lora_A.weight` [rank, inputs], `….lora_B.weight`
/// [outputs, rank], `score.weight`), and `base_model.model.` before them in the file.
public struct LoRAFiles: Sendable {
  /// Rank, scale, layers and projections.
  public var settings: LoRASettings
  /// The adapters' numbers.
  public var tensors: [NamedTensor]
  /// The model that they were trained on, as the file names it.
  public var baseModel: String?

  private static let prefix = "base_model.model."

  /// What PEFT calls the modules that carry adapters: the last part of their names.
  private static func modules(_ spec: TransformerSpec) -> [(projection: Projection, name: String)] {
    spec.groups(ofLayer: 0).flatMap(\.modules).compactMap { module in
      module.projection.map { ($0, module.name.split(separator: ".").last.map(String.init) ?? "") }
    }
  }

  /// Makes adapters.
  ///
  /// - Parameters:
  ///   - settings: Rank, scale, layers and projections.
  ///   - tensors: The adapters' numbers.
  ///   - baseModel: The model that they were trained on.
  public init(settings: LoRASettings, tensors: [NamedTensor], baseModel: String? = nil) {
    self.settings = settings
    self.tensors = tensors
    self.baseModel = baseModel
  }

  /// Whether a folder holds adapters.
  ///
  /// - Parameter directory: The folder.
  public static func isPresent(in directory: URL) -> Bool {
    FileManager.default.fileExists(
      atPath: directory.appendingPathComponent("adapter_config.json").path)
  }

  // MARK: - Writing

  /// Writes both files, the configuration last.
  ///
  /// - Parameters:
  ///   - directory: The folder; made if it is not there.
  ///   - spec: The model's spec.
  /// - Throws: `EngineError` that names the file; where the family has several projections as one
  ///   tensor, which separate adapters do not fit, they are to be merged instead.
  public func write(to directory: URL, spec: TransformerSpec) throws {
    let family = spec.architecture
    guard family.hasAdapterFormat else {
      throw EngineError(
        .badRequest,
        "\(directory.path): adapters of \(family.title) do not fit PEFT's format; merge them")
    }
    do {
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    } catch {
      throw EngineError(.file, "\(directory.path): the folder cannot be made")
    }
    try Safetensors.write(
      tensors.map { (Self.prefix + $0.name, $0.shape, $0.values) }, metadata: ["format": "pt"],
      to: directory.appendingPathComponent("adapter_model.safetensors"))
    let scalar = tensors.contains { $0.name == "score.weight" }
    let chosen = Self.modules(spec).filter { settings.projections.contains($0.projection) }
    var fields: [String: JSONTree] = [
      "peft_type": .string("LORA"), "task_type": .string(scalar ? "SEQ_CLS" : "CAUSAL_LM"),
      "base_model_name_or_path": baseModel.map { .string($0) } ?? .null,
      "r": .int(settings.rank), "lora_alpha": .double(settings.alpha),
      "lora_dropout": .double(0), "bias": .string("none"), "fan_in_fan_out": .bool(false),
      "inference_mode": .bool(true), "use_rslora": .bool(false), "use_dora": .bool(false),
      "target_modules": .array(chosen.map { .string($0.name) }),
      "modules_to_save": scalar ? .array([.string("score")]) : .null,
    ]
    if settings.lastLayers > 0 {
      let layers = spec.layers - settings.lastLayers..<spec.layers
      fields["layers_to_transform"] = .array(layers.map { .int($0) })
      fields["layers_pattern"] = .string("layers")
    }
    try AtomicFile.write(
      JSONTree.object(fields).text() + "\n",
      to: directory.appendingPathComponent("adapter_config.json"))
  }

  // MARK: - Reading

  /// Reads both files and holds the shapes against a model's.
  ///
  /// - Parameters:
  ///   - directory: The folder.
  ///   - spec: The spec of the model that they belong to.
  /// - Throws: `EngineError` that names the file and the field or tensor at fault.
  public init(_ directory: URL, spec: TransformerSpec) throws {
    let config = try JSONFile(directory.appendingPathComponent("adapter_config.json"))
    settings = try Self.settings(config, spec)
    baseModel = try config.string("base_model_name_or_path")
    let file = try Safetensors.File(directory.appendingPathComponent("adapter_model.safetensors"))
    tensors = []
    var expected: [String: [Int]] = [:]
    for layer in spec.layers - settings.lastLayers..<spec.layers {
      for module in spec.groups(ofLayer: layer).flatMap(\.modules) {
        guard let projection = module.projection, settings.projections.contains(projection)
        else { continue }
        let shape = module.weight.shape
        for (name, shape) in [
          (module.name + ".lora_A.weight", [settings.rank, shape[1]]),
          (module.name + ".lora_B.weight", [shape[0], settings.rank]),
        ] {
          expected[name] = shape
          try append(name, shape, file)
        }
      }
    }
    if file.shape(of: Self.prefix + "score.weight") != nil {
      expected["score.weight"] = spec.scoreTensor.shape
      try append("score.weight", spec.scoreTensor.shape, file)
    }
    if let stray = file.names.first(where: {
      !$0.hasPrefix(Self.prefix) || expected[String($0.dropFirst(Self.prefix.count))] == nil
    }) {
      throw EngineError(
        .badModel,
        "\(file.path): the tensor \(stray) has no place in this model or is not of "
          + "adapter_config.json")
    }
    // All layers: 0 says so whatever model they are put on.
    if settings.lastLayers == spec.layers { settings.lastLayers = 0 }
  }

  private mutating func append(_ name: String, _ shape: [Int], _ file: Safetensors.File) throws {
    let stored = Self.prefix + name
    guard let found = file.shape(of: stored) else {
      throw EngineError(.badModel, "\(file.path): the tensor \(stored) is missing")
    }
    guard found == shape else {
      throw EngineError(
        .badModel, "\(file.path): the tensor \(stored) has the shape \(found), not \(shape)")
    }
    tensors.append(NamedTensor(name: name, shape: shape, values: try file.read(stored)))
  }

  /// The settings that adapter_config.json describes; `lastLayers` is a count, never 0.
  private static func settings(
    _ config: JSONFile, _ spec: TransformerSpec
  ) throws -> LoRASettings {
    let kind = try config.required("peft_type", config.string)
    guard kind == "LORA" else {
      throw config.refused("peft_type", "'\(kind)' is not supported, only LORA")
    }
    for key in ["use_dora", "fan_in_fan_out"] where try config.bool(key) ?? false {
      throw config.refused(key, "true is not supported")
    }
    // Other networks than W + B·A on the layers as they are.
    for key in ["layer_replication", "alora_invocation_tokens", "target_parameters", "use_qalora"] {
      switch config.fields[key] {
      case nil, .null, .bool(false), .array([]): continue
      default: throw config.refused(key, "is not supported")
      }
    }
    for key in ["rank_pattern", "alpha_pattern"] {
      if let pattern = try config.object(key), !pattern.fields.isEmpty {
        throw config.refused(key, "is not supported")
      }
    }
    if let bias = try config.string("bias"), bias != "none" {
      throw config.refused("bias", "'\(bias)' is not supported, only none")
    }
    let rank = try config.required("r", config.integer)
    guard (1...1 << 14).contains(rank) else {
      throw config.refused("r", "\(rank) must lie between 1 and \(1 << 14)")
    }
    var alpha = try config.required("lora_alpha", config.number)
    if try config.bool("use_rslora") ?? false { alpha *= Double(rank).squareRoot() }
    guard case .array(let targets)? = config.fields["target_modules"] else {
      throw config.wrong("target_modules", "a list of names")
    }
    let projections = try targets.map { target in
      guard case .string(let name) = target,
        let module = modules(spec).first(where: { name == $0.name || name.hasSuffix("." + $0.name) }
        )
      else { throw config.refused("target_modules", "has a module that is not known") }
      return module.projection
    }
    return LoRASettings(
      rank: rank, alpha: alpha, lastLayers: try lastLayers(config, layers: spec.layers),
      projections: Projection.allCases.filter { projections.contains($0) })
  }

  private static func lastLayers(_ config: JSONFile, layers: Int) throws -> Int {
    let key = "layers_to_transform"
    let chosen: [Int]
    switch config.fields[key] {
    case nil, .null: return layers
    case .int(let layer): chosen = [layer]
    case .array(let list):
      chosen = try list.map {
        guard case .int(let layer) = $0 else { throw config.wrong(key, "a list of layers") }
        return layer
      }
    default: throw config.wrong(key, "a list of layers")
    }
    guard !chosen.isEmpty, chosen.count <= layers,
      chosen.sorted() == Array(layers - chosen.count..<layers)
    else {
      throw config.refused(key, "only the last layers of \(layers) in one piece are supported")
    }
    return chosen.count
  }
}

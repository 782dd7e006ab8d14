// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneFiles
public import Foundation

/// What rewards are normalised by: their mean and deviation on the answers trained on.
public struct RewardScale: Codable, Sendable, Equatable {
  /// The mean.
  public var mean: Double
  /// The standard deviation.
  public var deviation: Double
  /// What ends a step of an answer, where the model learned from steps and is read after each.
  public var stepSeparator: String?

  /// Makes a scale.
  public init(mean: Double, deviation: Double) {
    self.mean = mean
    self.deviation = deviation
  }
}

/// A model with all that belongs to it: tokenizer, chat template, name, fingerprint.
public struct LoadedModel {
  /// The weights, frozen; a model opened beside the one that it was trained from shares its frozen
  /// layers.
  public private(set) var model: any LanguageModel
  /// The tokenizer.
  public let tokenizer: Tokenizer
  /// The chat template, if the model has one.
  public let chatTemplate: ChatTemplate?
  /// The template's source.
  public let chatTemplateSource: String?
  /// What the model was called: its path or pulled name.
  public let name: String
  /// The SHA-256 of the model's files.
  public let fingerprint: String
  /// The fingerprint of the weights that `model` shares its lower layers with: its base's, if it
  /// was opened beside it; else its own.
  public let origin: String
  /// What a reward model's scores are normalised by.
  public let reward: RewardScale?

  /// What Attune notes beside a model, in `attune.json`.
  struct Note: Codable {
    struct Base: Codable {
      var name: String
      var fingerprint: String
    }
    var formatVersion = 1
    /// The model that training started from.
    var base: Base?
    /// Which numbers differ from it.
    var trained: Trainable?
    var reward: RewardScale?
  }

  /// Puts a model together from its parts.
  package init(
    model: any LanguageModel, tokenizer: Tokenizer, chatTemplate source: String?, name: String,
    fingerprint: String, origin: String? = nil, reward: RewardScale? = nil,
    templatePlace: String? = nil
  ) throws {
    guard tokenizer.vocabularySize <= model.spec.vocabularySize else {
      throw TrainingError(
        .badModel,
        "\(name): the tokenizer has \(tokenizer.vocabularySize) tokens, the model only "
          + "\(model.spec.vocabularySize)")
    }
    self.tokenizer = tokenizer
    chatTemplateSource = source
    chatTemplate = try source.map { source in
      func text(_ id: Int32?) -> String { id.flatMap { tokenizer.token(of: $0) } ?? "" }
      return try ChatTemplate(
        source: source,
        beginOfSequence: text(tokenizer.beginOfSequence ?? model.spec.beginOfSequence),
        endOfSequence: text(tokenizer.endOfSequence ?? model.spec.endOfSequence.first),
        place: templatePlace)
    }
    self.model = model
    model.turnOpening = chatTemplate.map { Self.turnOpening($0, tokenizer) } ?? []
    self.name = name
    self.fingerprint = fingerprint
    self.origin = origin ?? fingerprint
    self.reward = reward
  }

  /// The tokens that a template puts before what a user says, whichever turn it is; none where it is not
  /// clear which these are.
  private static func turnOpening(_ template: ChatTemplate, _ tokenizer: Tokenizer) -> [Int32] {
    let words = ["one", "two", "three"]
    let roles = ["user", "assistant", "user"]
    let messages = zip(roles, words).map { Message(role: $0, content: $1) }
    guard let pieces = try? template.prompt(messages) else { return [] }
    let places = words.compactMap { word in
      pieces.firstIndex { $0.isData && $0.text == word }
    }
    guard places.count == 3, places == places.sorted() else { return [] }
    let (first, third) = (
      tokenizer.encode(Array(pieces[..<places[0]])),
      tokenizer.encode(Array(pieces[(places[1] + 1)..<places[2]]))
    )
    let common = zip(first.reversed(), third.reversed()).prefix { $0 == $1 }.count
    return first.suffix(common)
  }

  /// What computes it.
  public var engine: any Engine { model.engine }

  /// The same model with other weights, so that its own can go where nothing reads them any more:
  /// beside a copy of which every weight is trained they are a fifth of the memory.
  package func holding(_ model: any LanguageModel) -> LoadedModel {
    var held = self
    held.model = model
    return held
  }

  /// Opens a model.
  ///
  /// - Parameters:
  ///   - name: A folder in Hugging Face's layout, a folder with an adapter (its base is opened
  ///     too), a `.gguf` file, or the name of something pulled.
  ///   - engine: What computes it.
  ///   - neighbour: A model of the same engine that is open already: one that was trained from it
  ///     shares its frozen weights instead of loading them again.
  ///   - rewardModels: Whether a model with a scalar head is taken: it has no language head, so that
  ///     it can neither answer nor say how probable a text is.
  /// - Throws: An error that names what is missing or damaged.
  public static func open(
    _ name: String, on engine: any Engine, beside neighbour: LoadedModel? = nil,
    rewardModels: Bool = false
  ) throws -> LoadedModel {
    let loaded = try open(name, at: resolve(name), on: engine, beside: neighbour)
    guard rewardModels || !loaded.model.hasScalarHead else {
      throw TrainingError(
        .badModel,
        "\(name): is a reward model (it has score.weight), which has no language head; give the "
          + "model that it was trained from, or name it where a reward is asked for (model:\(name))"
      )
    }
    return loaded
  }

  /// Opens a model beside one that is open, on the same engine.
  ///
  /// - Parameters:
  ///   - name: As the function above takes it.
  ///   - neighbour: The model that is open.
  ///   - rewardModels: Whether a model with a scalar head is taken.
  /// - Throws: An error that names what is missing or damaged.
  public static func open(
    _ name: String, beside neighbour: LoadedModel, rewardModels: Bool = false
  ) throws -> LoadedModel {
    try open(name, on: neighbour.engine, beside: neighbour, rewardModels: rewardModels)
  }

  /// Opens whatever a name leads to.
  private static func open(
    _ name: String, at url: URL, on engine: any Engine, beside neighbour: LoadedModel?
  ) throws -> LoadedModel {
    // Before the digest, which reads all of a file however large it claims to be.
    let checkpoint = LoRAFiles.isPresent(in: url) ? nil : try Checkpoint.open(url)
    if let checkpoint { try engine.requireMemory(for: checkpoint) }
    let fingerprint = try Fingerprint.of(model: url)
    if let neighbour, neighbour.fingerprint == fingerprint { return neighbour }
    let note = try readNote(url)
    if let neighbour, let base = note?.base, base.fingerprint == neighbour.origin,
      neighbour.origin == neighbour.fingerprint, let trained = note?.trained, trained != .full
    {
      return try openTrained(
        url, name: name, fingerprint: fingerprint, base: neighbour, trained: trained,
        reward: note?.reward)
    }
    guard let checkpoint else {
      let place = try adaptersBase(note, url)
      let base = try open(place.name, at: place.url, on: engine, beside: nil)
      if let expected = note?.base?.fingerprint, expected != base.fingerprint {
        throw TrainingError(
          .badModel,
          "\(url.path): belongs to another base model than \(base.name) is now (fingerprints "
            + "differ); give back the files that it was trained from")
      }
      let adapted = try openTrained(
        url, name: name, fingerprint: fingerprint, base: base, trained: nil, reward: note?.reward)
      // On its own it is a model like any other, which can be trained further.
      return try LoadedModel(
        model: adapted.model.frozenCopy(of: adapted.model.weight), tokenizer: base.tokenizer,
        chatTemplate: base.chatTemplateSource, name: name, fingerprint: fingerprint,
        reward: note?.reward, templatePlace: base.chatTemplate?.place)
    }
    let model = try engine.load(checkpoint)
    let (tokenizer, template, place) = try texts(checkpoint, url)
    return try LoadedModel(
      model: model, tokenizer: tokenizer, chatTemplate: template, name: name,
      fingerprint: fingerprint, reward: note?.reward, templatePlace: place)
  }

  /// A model of random weights, to be trained from nothing.
  ///
  /// - Parameters:
  ///   - configuration: A Hugging Face `config.json`.
  ///   - tokenizer: Its tokenizer; bytes unless said.
  ///   - chatTemplate: Its chat template's source, if it is to have one.
  ///   - seed: The seed of the weights.
  ///   - engine: What computes it.
  /// - Throws: An error if the configuration is not read, or too small for the tokenizer.
  public static func random(
    configuration: URL, tokenizer: Tokenizer = .bytes, chatTemplate: String? = nil, seed: UInt64,
    on engine: any Engine
  ) throws -> LoadedModel {
    try random(
      TransformerSpec(configuration: configuration), tokenizer: tokenizer,
      chatTemplate: chatTemplate, seed: seed, on: engine, name: configuration.path)
  }

  /// A model of random weights for a spec.
  package static func random(
    _ spec: TransformerSpec, tokenizer: Tokenizer = .bytes, chatTemplate: String? = nil,
    seed: UInt64, on engine: any Engine, name: String = "random"
  ) throws -> LoadedModel {
    var spec = spec
    // The tokenizer decides, not what the configuration was copied from.
    spec.beginOfSequence = tokenizer.beginOfSequence
    spec.endOfSequence = tokenizer.endOfSequence.map { [$0] } ?? spec.endOfSequence
    let vocabulary = (0..<Int32(tokenizer.vocabularySize)).map { tokenizer.token(of: $0) ?? "" }
    let digest = try Fingerprint.of(value: vocabulary)
    let record = try Fingerprint.of(value: ["\(spec)", "\(seed)", digest, chatTemplate ?? ""])
    return try LoadedModel(
      model: try engine.random(spec, seed: seed), tokenizer: tokenizer,
      chatTemplate: chatTemplate, name: name, fingerprint: record)
  }

  /// A model's tokenizer alone, without its weights.
  ///
  /// - Parameter name: As `open` takes it.
  /// - Throws: An error that names what is missing or damaged.
  public static func tokenizer(_ name: String) throws -> Tokenizer {
    try tokenizer(at: resolve(name))
  }

  private static func tokenizer(at url: URL) throws -> Tokenizer {
    if LoRAFiles.isPresent(in: url) {
      return try tokenizer(at: adaptersBase(readNote(url), url).url)
    }
    if url.pathExtension.lowercased() != "gguf" { return try Tokenizer.load(directory: url) }
    return try texts(Checkpoint.open(url), url).0
  }

  /// The model that adapters belong to, and where it is.
  ///
  /// - Throws: An error that names the adapters' folder where it is not there.
  static func adaptersBase(
    _ note: Note?, _ url: URL
  ) throws -> (name: String, url: URL) {
    let name = try note?.base?.name ?? adapterBase(url)
    do {
      return (name, try resolve(name))
    } catch let error as TrainingError {
      throw TrainingError(error.code, "\(url.path): its base model: \(error.message)")
    }
  }

  /// What a model was trained from, as noted beside it; nil where nothing is noted.
  ///
  /// - Parameter name: As `open` takes it.
  /// - Throws: An error that names what is missing or damaged.
  package static func base(of name: String) throws -> (name: String, fingerprint: String?)? {
    let url = try resolve(name)
    if let base = try readNote(url)?.base { return (base.name, base.fingerprint) }
    return LoRAFiles.isPresent(in: url) ? (try adapterBase(url), nil) : nil
  }

  /// The model that one was trained from, opened; nil where nothing is noted.
  ///
  /// - Parameters:
  ///   - name: As `open` takes it.
  ///   - engine: What computes it.
  ///   - neighbour: A model that is open.
  /// - Throws: `TrainingError.badModel` if it is gone, or has other weights by now.
  package static func openBase(
    of name: String, on engine: any Engine, beside neighbour: LoadedModel? = nil
  ) throws -> LoadedModel? {
    guard let base = try base(of: name) else { return nil }
    guard (try? resolve(base.name)) != nil else {
      throw TrainingError(
        .badModel, "\(base.name), which \(name) was trained from, is not there any more")
    }
    let opened = try open(base.name, on: engine, beside: neighbour)
    guard base.fingerprint == nil || base.fingerprint == opened.fingerprint else {
      throw TrainingError(
        .badModel,
        "\(base.name) is no longer what \(name) was trained from (fingerprint "
          + "\(base.fingerprint?.prefix(12) ?? ""))")
    }
    return opened
  }

  /// The model that one was trained from, opened, where most of its weights are the same; nil where
  /// it has none in common, or where that is no longer there.
  package static func sharedBase(of name: String, on engine: any Engine) throws -> LoadedModel? {
    guard let note = try readNote(try resolve(name)), let base = note.base,
      let trained = note.trained, trained != .full, (try? resolve(base.name)) != nil
    else { return nil }
    return try open(base.name, on: engine, rewardModels: true)
  }

  /// Where a name leads: a path that exists, or something pulled.
  ///
  /// - Throws: `TrainingError` that says what there is.
  public static func resolve(_ name: String) throws -> URL {
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: name, isDirectory: &isDirectory) {
      let url = URL(filePath: name)
      if !isDirectory.boolValue {
        guard url.pathExtension.lowercased() == "gguf" else {
          throw TrainingError(
            .badModel,
            "\(name): a model is a folder in Hugging Face's layout or a .gguf file; give the folder"
          )
        }
        return url
      }
      guard has("config.json", url) || has("adapter_config.json", url) else {
        throw TrainingError(
          .badModel, "\(name): holds neither config.json nor adapter_config.json, so it is no model"
        )
      }
      return url
    }
    if let pull = Pull.all.first(where: { $0.name == name }) {
      if let model = pull.model { return model }
      throw TrainingError(.badModel, "\(name) is not here yet; fetch it with: attune pull \(name)")
    }
    let folder = Pull.cache.appending(path: name)
    if !name.contains("/"), has("config.json", folder) { return folder }
    let names = Pull.all.map(\.name).joined(separator: ", ")
    throw TrainingError(
      .badModel,
      "\(name): there is no such folder or file, nor a model of that name to be pulled (\(names))")
  }

  // MARK: - Parts

  /// A model that was trained from one that is open: only what differs is read.
  static func openTrained(
    _ url: URL, name: String, fingerprint: String, base: LoadedModel, trained: Trainable?,
    reward: RewardScale?
  ) throws -> LoadedModel {
    var trained = trained ?? .frozen
    let tensors: [NamedTensor]
    let hasHead: Bool
    if LoRAFiles.isPresent(in: url) {
      let files = try LoRAFiles(url, spec: base.model.spec)
      trained = .lora(files.settings)
      tensors = files.tensors
      hasHead = tensors.contains { $0.name == "score.weight" }
    } else {
      let source = try Checkpoint.open(url).tensors
      hasHead = source.shape(of: "score.weight") != nil
      let wanted = try base.model.copy(training: trained, scalarHead: hasHead ? .zero : nil)
        .trainedParameters()
      tensors = try wanted.map {
        NamedTensor(name: $0.name, shape: $0.shape, values: try source.read($0.name))
      }
    }
    let model = try base.model.copy(training: trained, scalarHead: hasHead ? .zero : nil)
    try model.setTrainedParameters(tensors)
    return try LoadedModel(
      model: model, tokenizer: base.tokenizer, chatTemplate: base.chatTemplateSource, name: name,
      fingerprint: fingerprint, origin: base.fingerprint, reward: reward,
      templatePlace: base.chatTemplate?.place)
  }

  /// The base model that an adapter's configuration names.
  private static func adapterBase(_ url: URL) throws -> String {
    struct Configuration: Decodable {
      let base_model_name_or_path: String?
    }
    let file = url.appending(path: "adapter_config.json")
    do {
      let data = try Data(contentsOf: file)
      if let name = try JSONDecoder().decode(Configuration.self, from: data)
        .base_model_name_or_path
      {
        return name
      }
    } catch {
      throw TrainingError(.badModel, "\(file.path): is damaged: \(reason(error))")
    }
    throw TrainingError(.badModel, "\(file.path): names no base model")
  }

  private static func texts(
    _ checkpoint: Checkpoint, _ url: URL
  ) throws -> (Tokenizer, template: String?, place: String) {
    if let metadata = checkpoint.ggufMetadata {
      let tokenizer = try Tokenizer(gguf: GGUFTokenizer(metadata, source: url.path))
      return (tokenizer, tokenizer.chatTemplate, url.path)
    }
    let tokenizer = try Tokenizer.load(directory: url)
    let file = url.appending(path: "chat_template.jinja")
    guard has("chat_template.jinja", url) else {
      return (
        tokenizer, tokenizer.chatTemplate, url.appending(path: "tokenizer_config.json").path
      )
    }
    do {
      return (tokenizer, try String(contentsOf: file, encoding: .utf8), file.path)
    } catch {
      throw TrainingError(.badModel, "\(file.path): can't be read: \(reason(error))")
    }
  }

  private static func has(_ file: String, _ folder: URL) -> Bool {
    FileManager.default.fileExists(atPath: folder.appending(path: file).path)
  }

  static func readNote(_ url: URL) throws -> Note? {
    guard url.pathExtension.lowercased() != "gguf", has("attune.json", url) else { return nil }
    let file = url.appending(path: "attune.json")
    do {
      return try JSONText.read(Note.self, from: try Data(contentsOf: file))
    } catch {
      throw TrainingError(.badModel, "\(file.path): is damaged; write the model again")
    }
  }
}

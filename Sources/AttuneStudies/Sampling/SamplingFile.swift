// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneFiles
import AttuneRewards
public import AttuneTraining
public import Foundation

/// What sampling a file came to: the object of `sample --json`.
public struct SampleReport: Codable, Sendable, Equatable {
  /// What one model gave.
  public struct Part: Codable, Sendable, Equatable {
    /// The model, as rows name it.
    public var model: String
    /// Answers.
    public var answers: Int
    /// Share of them that ended by themselves.
    public var completed: Double
    /// Mean length in tokens; nil where a server does not say.
    public var length: Double?
  }

  /// Version of this object's format.
  public var formatVersion = 1
  /// The file that was written.
  public var output: String
  /// Prompts.
  public var prompts: Int
  /// Answers.
  public var answers: Int
  /// Tokens sampled, as far as they are known.
  public var tokens: Int
  /// Share of answers that ended by themselves.
  public var completed: Double
  /// Mean length in tokens of the answers whose length is known.
  public var length: Double
  /// What each model gave.
  public var models: [Part]
  /// Seconds.
  public var seconds: Double
  /// Tokens sampled a second.
  public var tokensPerSecond: Double
  /// Answers that servers did not give; they are left out, and asked for again by the same command.
  public var unanswered = 0
  /// Why the first of them is missing.
  public var whyUnanswered: String?

  /// What is missing, in words; nil if nothing is.
  public var warning: String? {
    guard unanswered > 0 else { return nil }
    return "warning: \(unanswered) of \(answers + unanswered) answers are missing"
      + "\(whyUnanswered.map { ", the first since \($0)" } ?? ""); the same command asks for them again"
  }
}

extension Sampling {
  /// How servers are asked.
  public struct Transport: Sendable {
    /// Requests to a server at once.
    public var parallel = 8
    /// Seconds that a server may be silent.
    public var timeout = 120.0

    /// The defaults.
    public init() {}
  }

  /// One model's answers to every prompt.
  private struct Part {
    var model: SampleRow.Model
    var completions: [[SampleRow.Completion]]
    /// Lengths in tokens that are known.
    var lengths: [Int]
    /// Why answers are missing, one a missing answer.
    var missing: [String] = []
  }

  /// Samples one model's answers to the prompts of a file.
  ///
  /// - Parameters:
  ///   - loaded: The model.
  ///   - data: Rows of any kind that has prompts; the columns that go along with a prompt
  ///     are kept.
  ///   - settings: The knobs.
  ///   - output: The file to write.
  ///   - style: Where progress goes.
  /// - Returns: What it came to.
  /// - Throws: An error that names the line, setting or file at fault.
  public static func run(
    _ loaded: LoadedModel, data: DataFile, settings: SampleSettings, output: URL,
    style: ProgressLine.Style = .automatic
  ) throws -> SampleReport {
    let began = ContinuousClock.now
    let part = try part(loaded, data, settings, label: "sample", style)
    return try write([part], data, settings, output: output, began: began)
  }

  /// Samples several models' answers to the prompts of a file, a row a prompt. A model is loaded when it
  /// is its turn. What servers have answered is kept beside the output and not asked again.
  ///
  /// - Parameters:
  ///   - models: Models as `LoadedModel.open` takes them, and addresses of OpenAI-compatible servers,
  ///     with `#MODEL` behind those that have several.
  ///   - data: Rows of any kind that has prompts; the columns that go along with a prompt
  ///     are kept.
  ///   - settings: The knobs.
  ///   - output: The file to write.
  ///   - transport: How servers are asked.
  ///   - engine: What computes models.
  ///   - style: Where progress goes.
  /// - Returns: What it came to.
  /// - Throws: An error that names the model, server, line, setting or file at fault.
  public static func run(
    models: [String], data: DataFile, settings: SampleSettings, output: URL,
    transport: Transport = Transport(), on engine: any Engine,
    style: ProgressLine.Style = .automatic
  ) throws -> SampleReport {
    let began = ContinuousClock.now
    try settings.validate()
    if let twice = models.first(where: { name in models.count { $0 == name } > 1 }) {
      throw TrainingError(.badSetting, "the model \(twice) is given twice")
    }
    let addresses = models.filter(ServerSampler.isAddress)
    // Servers are reached before a model takes its time.
    let servers = try addresses.enumerated().map { place, address in
      try ServerSampler(address, settings: settings, place: place, transport: transport)
    }
    let log: AnswerLog<ServerAnswer>? =
      servers.isEmpty ? nil : try AnswerLog(output.appendingPathExtension("answers"))
    var first: LoadedModel?
    let parts = try models.map { name -> Part in
      if let place = addresses.firstIndex(of: name), let log {
        return try part(servers[place], data, log, style)
      }
      let loaded = try LoadedModel.open(name, on: engine, beside: first)
      first = first ?? loaded
      return try part(
        loaded, data, settings, label: models.count > 1 ? "sample \(name)" : "sample", style)
    }
    return try write(parts, data, settings, output: output, began: began)
  }

  private static func part(
    _ loaded: LoadedModel, _ data: DataFile, _ settings: SampleSettings, label: String,
    _ style: ProgressLine.Style
  ) throws -> Part {
    let encoder = try TextEncoder(loaded)
    let prompts = try data.rows.map { row in
      let prompt = try prompt(row, data)
      do {
        return try encoder.prompt(prompt)
      } catch {
        throw TrainingError(
          (error as? TrainingError)?.code ?? .badData,
          "\(data.place(of: row)): \(error)")
      }
    }
    let answers = try answers(
      loaded, prompts: prompts, settings: settings, label: label, style: style)
    return Part(
      model: .init(name: loaded.name, fingerprint: loaded.fingerprint),
      completions: answers.map { $0.map(\.row) },
      lengths: answers.flatMap { $0.map(\.completion.ids.count) })
  }

  private static func part(
    _ server: ServerSampler, _ data: DataFile, _ log: AnswerLog<ServerAnswer>,
    _ style: ProgressLine.Style
  ) throws -> Part {
    let conversations = try data.rows.map { row in
      guard case .messages(let messages) = try prompt(row, data), messages.last?.role != "system"
      else {
        throw TrainingError(
          .badData,
          "\(data.place(of: row)): a server answers conversations that end in a turn of "
            + "the user, of a tool, or of the assistant, which it goes on with; give the prompt as "
            + "messages")
      }
      return messages
    }
    let answers = try server.answers(conversations, log: log, style: style)
    let missing = answers.flatMap { $0.compactMap(\.whyEmpty) }
    guard missing.isEmpty || missing.count < answers.reduce(0, { $0 + $1.count }) else {
      throw TrainingError(
        .unavailable,
        "\(server.name): gave none of \(missing.count) answers, the first since \(missing[0])")
    }
    return Part(
      model: .init(name: server.name, fingerprint: ""),
      completions: answers.map {
        $0.compactMap { answer in
          answer.text.map {
            SampleRow.Completion(
              text: $0, ids: nil, logProbability: nil,
              finishReason: answer.isCut ? .length : .stop)
          }
        }
      }, lengths: answers.flatMap { $0.filter(\.isAnswer).compactMap(\.tokens) },
      missing: missing)
  }

  private static func prompt(_ row: DataRow, _ data: DataFile) throws -> Content {
    if let prompt = row.example.prompt { return prompt }
    throw TrainingError(
      .badData, "\(data.place(of: row)): there is no prompt to answer")
  }

  /// Writes a row a prompt: a single model stands in the row, several at each of their answers.
  private static func write(
    _ parts: [Part], _ data: DataFile, _ settings: SampleSettings, output: URL,
    began: ContinuousClock.Instant
  ) throws -> SampleReport {
    let sampling = try settings.json
    var text = ""
    for (i, row) in data.rows.enumerated() {
      let isOne = parts.count == 1
      let completions = parts.flatMap { part in
        part.completions[i].map { completion in
          var completion = completion
          if !isOne {
            completion.model = part.model
            completion.sampling = sampling
          }
          return completion
        }
      }
      guard !completions.isEmpty else { continue }
      let sample = SampleRow(
        prompt: try prompt(row, data), completions: completions,
        model: isOne ? parts[0].model : nil, sampling: sampling,
        fields: data.promptRow(row)?.fields ?? [])
      text += sample.json.text + "\n"
    }
    try AtomicFile.write(text, to: output)
    func completed(_ completions: [SampleRow.Completion]) -> Double {
      Double(completions.count { $0.finishReason == .stop }) / Double(max(1, completions.count))
    }
    let all = parts.flatMap { $0.completions.flatMap(\.self) }
    let lengths = parts.flatMap(\.lengths)
    let tokens = lengths.reduce(0, +)
    let elapsed = seconds(ContinuousClock.now - began)
    return SampleReport(
      output: output.path, prompts: data.rows.count, answers: all.count, tokens: tokens,
      completed: completed(all), length: Double(tokens) / Double(max(1, lengths.count)),
      models: parts.map { part in
        let own = part.completions.flatMap(\.self)
        return .init(
          model: part.model.name, answers: own.count, completed: completed(own),
          length: part.lengths.isEmpty
            ? nil : Double(part.lengths.reduce(0, +)) / Double(part.lengths.count))
      }, seconds: elapsed, tokensPerSecond: Double(tokens) / max(elapsed, 1e-9),
      unanswered: parts.reduce(0) { $0 + $1.missing.count },
      whyUnanswered: parts.lazy.compactMap(\.missing.first).first)
  }
}

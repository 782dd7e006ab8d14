// SPDX-License-Identifier: Apache-2.0

extension Message {
  /// The fields that say whether a turn is learned: OpenAI's `weight`, and what others call it.
  static let lossKeys: Set<String> = ["weight", "loss_weight", "train", "training", "loss"]
  /// Fields that share out a loss within a turn, which is not done.
  private static let partialLossKeys = ["train_detail", "training_detail", "loss_scale"]

  /// Whether an answer is learned: not where its `weight` (`loss_weight`, `train`, `training`, `loss`)
  /// is 0 or false.
  public var carriesLoss: Bool {
    fields.allSatisfy { field in
      !Self.lossKeys.contains(field.key) || Self.isOn(field.value) != false
    }
  }

  /// The fields that may hold a turn's thoughts, the first that says something counts.
  package static let thoughtKeys = ["reasoning_content", "thinking", "reasoning"]
  /// The field in which Cohere's models plan their calls of tools.
  static let planKey = "tool_plan"

  /// Whether nothing is said in it: no words, no thoughts, no call of a tool.
  public var isEmpty: Bool {
    let says = fields.contains { field in
      (Self.thoughtKeys + [Self.planKey, "tool_calls"]).contains(field.key)
        && ![.null, .array([]), .string("")].contains(field.value)
    }
    return !says && content.allSatisfy(\.isWhitespace)
  }

  /// Checks what a turn says of its own training.
  func checkLoss(_ name: String, at place: DataPlace) throws {
    for field in fields where field.value != .null {
      if Self.partialLossKeys.contains(field.key) {
        throw place.error(
          "\(name).\(field.key): a turn carries a loss as a whole or not at all; say so with "
            + "\"weight\" 1 or 0")
      }
      guard Self.lossKeys.contains(field.key) else { continue }
      guard let isOn = Self.isOn(field.value) else {
        throw place.error(
          "\(name).\(field.key) is \(field.value.text); a turn's weight is 0 or 1 (or false, true)")
      }
      if isOn, role != "assistant" {
        throw place.error(
          "\(name).\(field.key) asks for a loss on a turn of the \(role), and only the assistant's "
            + "turns carry one; leave the field out")
      }
    }
  }

  /// A weight of 1 or 0; nil for any other.
  private static func isOn(_ value: JSONValue) -> Bool? {
    switch value {
    case .bool(let isOn): return isOn
    case .number(let digits):
      switch Double(digits) {
      case 0: return false
      case 1: return true
      default: return nil
      }
    default: return nil
    }
  }
}

extension [Message] {
  /// The index from which on the assistant answers. Who greets before anybody has asked is part of what
  /// the first answer is given.
  public var answersFrom: Int { (firstIndex { $0.role == "user" } ?? 0) + 1 }

  /// Descriptions of tools that stand with the conversation: at the turn that brings them, where
  /// `Content.given(tools:)` puts a row's.
  public var tools: JSONValue? { toolLists.first }

  /// The different lists of tools of its turns; an empty one says nothing beside another.
  private var toolLists: [JSONValue] {
    var lists: [JSONValue] = []
    for message in self {
      guard let list = JSONValue.object(message.fields).present("tools"), !lists.contains(list)
      else { continue }
      lists.append(list)
    }
    return lists.count > 1 ? lists.filter { $0 != .array([]) } : lists
  }

  /// Refuses turns whose tools differ: a chat template is given one list, and the others would be
  /// dropped.
  func requireOneToolList(at place: DataPlace) throws {
    guard toolLists.count < 2 else {
      throw place.error(
        "the \"tools\" of its messages differ, and a chat template is given one list; keep one that "
          + "has all of them")
    }
  }
}

/// Descriptions of tools as a row or a message has them.
enum Tools {
  /// A list of JSON schemas; also as the same in a string, as columns of tables hold it.
  ///
  /// - Returns: The list; nil for none.
  static func read(_ value: JSONValue?, _ name: String, at place: DataPlace) throws -> JSONValue? {
    switch value {
    case nil, .null: return nil
    case .string(let text):
      guard !text.allSatisfy(\.isWhitespace) else { return nil }
      let bytes = Array(text.utf8)
      guard let parsed = bytes.withUnsafeBufferPointer({ try? JSONParser.parse($0) }) else {
        throw place.error("\(name) is a string that is not JSON; give a list of tools")
      }
      if case .string = parsed { throw place.error("\(name) must be a list of tools") }
      return try read(parsed, name, at: place)
    case .array(let tools)?:
      for (index, tool) in tools.enumerated() {
        guard case .object = tool else {
          throw place.error(
            "\(name)[\(index)] must be an object that describes a tool, not \(tool.kindName)")
        }
      }
      return .array(tools)
    case let other?:
      throw place.error("\(name) must be a list of tools, not \(other.kindName)")
    }
  }
}

extension Content {
  /// The conversation with a row's tools at its first turn, so that they go wherever it goes.
  ///
  /// - Throws: ``DataError`` for a text, which no template reads, and for tools beside others.
  func given(tools: JSONValue?, at place: DataPlace) throws -> Content {
    guard let tools else { return self }
    guard case .messages(var messages) = self, !messages.isEmpty else {
      if tools == .array([]) { return self }
      throw place.error(
        "\"tools\" stands beside a prompt that is a string, and only a chat template writes tools; "
          + "give the prompt as messages")
    }
    if let own = messages.tools {
      guard own == tools else {
        throw place.error("\"tools\" and the tools of a message differ; leave one of them out")
      }
      return self
    }
    messages[0].fields.append(JSONValue.Field("tools", tools))
    return .messages(messages)
  }
}

extension Example {
  /// The example with a row's column of tools at its prompt.
  func given(_ row: JSONValue, at place: DataPlace) throws -> Example {
    guard let tools = try Tools.read(row["tools"], "\"tools\"", at: place) else { return self }
    func with(_ content: Content) throws -> Content { try content.given(tools: tools, at: place) }
    switch self {
    case .text(let content): return .text(try with(content))
    case .prompt(let prompt): return .prompt(try with(prompt))
    case .completion(let prompt, let completion):
      return .completion(prompt: try with(prompt), completion: completion)
    case .preference(var pair):
      pair.prompt = try with(pair.prompt)
      return .preference(pair)
    case .unpaired(let prompt, let completion, let label):
      return .unpaired(prompt: try with(prompt), completion: completion, label: label)
    case .ranking(var row):
      row.prompt = try with(row.prompt)
      return .ranking(row)
    case .samples(var row):
      row.prompt = try with(row.prompt)
      return .samples(row)
    case .stepwise(var row):
      row.prompt = try with(row.prompt)
      return .stepwise(row)
    }
  }
}

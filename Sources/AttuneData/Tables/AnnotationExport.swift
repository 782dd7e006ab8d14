// SPDX-License-Identifier: Apache-2.0

/// What labelling programs export, as rows: Label Studio's tasks (JSON, as its JSON_MIN has them flat) and
/// Argilla's records.
enum AnnotationExport {
  /// The rows of an object: one for each person who annotated it; itself where it is no export.
  static func rows(of value: JSONValue, at place: DataPlace) throws -> [JSONValue] {
    if case .object(let data)? = value["data"], case .array(let annotations)? = value["annotations"]
    {
      return try annotations.compactMap { try labelStudio($0, data, at: place) }
    }
    if case .object(let fields)? = value["fields"], let responses = value["responses"] {
      return try argilla(fields, responses, of: value, at: place)
    }
    return [value]
  }

  // MARK: - Label Studio

  /// A task's data with what one annotation says of it; nil for one that was cancelled or is empty.
  private static func labelStudio(
    _ annotation: JSONValue, _ data: [JSONValue.Field], at place: DataPlace
  ) throws -> JSONValue? {
    if annotation["was_cancelled"]?.asBool == true { return nil }
    guard case .array(let results)? = annotation["result"] else {
      throw place.error("an annotation of Label Studio has no \"result\"")
    }
    if results.isEmpty { return nil }
    var row = data
    for result in results {
      guard let name = result["from_name"]?.asString, let value = result["value"] else {
        throw place.error("a result of Label Studio has no \"from_name\" or \"value\"")
      }
      guard !row.contains(where: { $0.key == name }) else {
        throw place.error("\"\(name)\" is both a field of the task and what an annotation says")
      }
      row.append(.init(name, plain(value)))
    }
    if let person = annotation.present("completed_by") {
      let name = person["email"] ?? person["id"] ?? person
      row.append(.init("annotator", name))
    }
    return .object(row)
  }

  /// What a control says, without the object around it: a choice, a rating, the side that was picked.
  private static func plain(_ value: JSONValue) -> JSONValue {
    let fields = value.fields.filter { $0.key != "start" && $0.key != "end" }
    guard fields.count == 1 else { return value }
    guard case .array(let list) = fields[0].value, list.count == 1 else { return fields[0].value }
    return list[0]
  }

  // MARK: - Argilla

  /// A record's fields with what each person answers, of version 1 (a list of people's answers) or 2 (a list
  /// for each question).
  private static func argilla(
    _ fields: [JSONValue.Field], _ responses: JSONValue, of record: JSONValue, at place: DataPlace
  ) throws -> [JSONValue] {
    var people: [(name: JSONValue, answers: [JSONValue.Field])] = []
    func note(_ person: JSONValue, _ question: String, _ value: JSONValue) {
      let index = people.firstIndex { $0.name == person } ?? people.count
      if index == people.count { people.append((person, [])) }
      people[index].answers.append(.init(question, value))
    }
    switch responses {
    case .array(let list):
      for response in list where response["status"]?.asString ?? "submitted" == "submitted" {
        for answer in response["values"]?.fields ?? [] {
          note(response["user_id"] ?? .null, answer.key, answer.value["value"] ?? answer.value)
        }
      }
    case .object(let questions):
      for question in questions {
        for answer in question.value.asArray ?? []
        where answer["status"]?.asString ?? "submitted" == "submitted" {
          note(answer["user_id"] ?? .null, question.key, answer["value"] ?? .null)
        }
      }
    default: throw place.error("\"responses\" of an Argilla record is neither a list nor an object")
    }
    return try people.map { person, answers in
      var row = fields
      for answer in answers {
        guard !row.contains(where: { $0.key == answer.key }) else {
          throw place.error("\"\(answer.key)\" is both a field of the record and a question")
        }
        try add(answer, to: &row, at: place)
      }
      if let metadata = record["metadata"], !metadata.fields.isEmpty {
        row.append(.init("metadata", metadata))
      }
      if person != .null { row.append(.init("annotator", person)) }
      return .object(row)
    }
  }

  /// A question's answer; a ranking of fields becomes a list of answers with their ranks.
  private static func add(
    _ answer: JSONValue.Field, to row: inout [JSONValue.Field], at place: DataPlace
  ) throws {
    guard case .array(let ranks) = answer.value, !ranks.isEmpty,
      ranks.allSatisfy({ $0["value"]?.asString != nil && $0["rank"] != nil })
    else { return row.append(answer) }
    var answers: [JSONValue] = []
    for rank in ranks {
      let name = rank["value"]?.asString ?? ""
      guard let index = row.firstIndex(where: { $0.key == name }) else {
        throw place.error("\"\(answer.key)\" ranks \"\(name)\", which is no field of the record")
      }
      answers.append(
        .object([.init("text", row[index].value), .init("rank", rank["rank"] ?? .null)]))
      row.remove(at: index)
    }
    row.append(.init("answers", .array(answers)))
  }
}

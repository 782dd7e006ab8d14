// SPDX-License-Identifier: Apache-2.0

/// The filter `tojson` as chat templates have it, which is Python's `json.dumps`: `", "` and `": "`
/// between, no escapes but the necessary ones, keys in their order. Strings keep their origin.
struct JSONForm {
  private let run: TemplateRun
  private let indent: Int?
  private let itemSeparator: String
  private let keySeparator: String
  private let sortsKeys: Bool
  private let isASCII: Bool

  init(_ run: TemplateRun, _ arguments: Arguments) throws {
    self.run = run
    indent = arguments.named.last { $0.name == "indent" }?.value.integer
    if let indent, !(0...100).contains(indent) { throw run.fail("tojson with indent \(indent)") }
    var separators: [TemplateValue] = []
    if case .list(let given)? = arguments.named.last(where: { $0.name == "separators" })?.value {
      separators = given
    }
    itemSeparator = separators.first?.asText.string ?? (indent == nil ? ", " : ",")
    keySeparator = separators.count > 1 ? separators[1].asText.string : ": "
    sortsKeys = arguments.named.last { $0.name == "sort_keys" }?.value.isTrue ?? false
    isASCII = arguments[0, "ensure_ascii"]?.isTrue ?? false
  }

  func text(of value: TemplateValue) throws -> TemplateText {
    var result = TemplateText()
    try append(value, level: 0, to: &result)
    return result
  }

  private func append(
    _ value: TemplateValue, level: Int, to result: inout TemplateText
  ) throws {
    try run.spend()
    if level > JSONParser.deepest { throw run.fail("tojson of a value nested too deep") }
    func open(_ bracket: String) { result.append(bracket, isData: false) }
    func newLine(_ level: Int) {
      guard let indent else { return }
      result.append("\n" + String(repeating: " ", count: indent * level), isData: false)
    }
    switch value {
    case .none: open("null")
    case .bool(let flag): open(flag ? "true" : "false")
    case .int(let number): open(String(number))
    case .double(let number): open("\(number)")
    case .text(let text): result.append(quoted(text))
    case .list(let values):
      open("[")
      for (i, item) in values.enumerated() {
        if i > 0 { open(itemSeparator) }
        newLine(level + 1)
        try append(item, level: level + 1, to: &result)
      }
      if !values.isEmpty { newLine(level) }
      open("]")
    case .dictionary(let fields):
      open("{")
      let ordered =
        sortsKeys
        ? fields.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } : fields
      for (i, field) in ordered.enumerated() {
        if i > 0 { open(itemSeparator) }
        newLine(level + 1)
        result.append(quoted(field.key))
        open(keySeparator)
        try append(field.value, level: level + 1, to: &result)
      }
      if !fields.isEmpty { newLine(level) }
      open("}")
    default: throw run.fail("tojson of \(value.typeName)")
    }
    if result.size > TemplateRun.mostBytes { throw run.fail("a text grows beyond 64 MB") }
  }

  private func quoted(_ text: TemplateText) -> TemplateText {
    let inner = text.mapped { part in
      var bytes: [UInt8] = []
      JSONValue.escape(part, into: &bytes)
      let escaped = String(decoding: bytes, as: UTF8.self)
      guard isASCII else { return escaped }
      return escaped.utf16.reduce(into: "") { result, unit in
        if unit < 0x80, let scalar = Unicode.Scalar(unit) {
          result.unicodeScalars.append(scalar)
        } else {
          let digits = String(unit, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      }
    }
    return TemplateText("\"") + inner + TemplateText("\"")
  }
}

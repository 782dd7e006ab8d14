// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Fields, slices, arithmetic, comparison and the language's own functions.
extension TemplateRun {
  private static let dictionaryMethods: Set<String> = ["items", "keys", "values", "get"]

  func attribute(_ name: String, of value: TemplateValue, _ line: Int) throws -> TemplateValue {
    switch value {
    case .undefined(let what): throw fail("\(what) is not defined, so it has no \(name)")
    case .dictionary:
      if Self.dictionaryMethods.contains(name) { return .method(value, name) }
      return value.field(name) ?? .undefined(name)
    case .namespace(let index):
      return namespaces[index].last { $0.key.string == name }?.value ?? .undefined(name)
    case .loop(let loop): return try field(name, of: loop)
    case .text:
      return Self.textMethods.contains(name) ? .method(value, name) : .undefined(name)
    case .list where name == "append": throw fail("lists cannot be changed (append)")
    default: return .undefined(name)
    }
  }

  private func field(_ name: String, of loop: TemplateValue.Loop) throws -> TemplateValue {
    let count = loop.items.count
    switch name {
    case "index": return .int(loop.index + 1)
    case "index0": return .int(loop.index)
    case "revindex": return .int(count - loop.index)
    case "revindex0": return .int(count - loop.index - 1)
    case "first": return .bool(loop.index == 0)
    case "last": return .bool(loop.index == count - 1)
    case "length": return .int(count)
    // The depth of recursion, not of nesting.
    case "depth": return .int(1)
    case "depth0": return .int(0)
    case "previtem": return loop.index > 0 ? loop.items[loop.index - 1] : .undefined("previtem")
    case "nextitem":
      return loop.index + 1 < count ? loop.items[loop.index + 1] : .undefined("nextitem")
    case "cycle": return .method(.loop(loop), "cycle")
    default: throw fail("loop.\(name) is not interpreted")
    }
  }

  func item(_ key: TemplateValue, of value: TemplateValue, _ line: Int) throws -> TemplateValue {
    switch (value, key) {
    case (.undefined(let what), _): throw fail("\(what) is not defined, so it has no items")
    case (.list(let values), _):
      guard var index = key.integer else { return .undefined("item") }
      if index < 0 { index += values.count }
      return values.indices.contains(index) ? values[index] : .undefined("item \(index)")
    case (.text(let text), .int(var index)):
      let scalars = text.scalars
      try spend(text.size)
      if index < 0 { index += scalars.count }
      return scalars.indices.contains(index)
        ? .text(TemplateText([scalars[index]])) : .undefined("character \(index)")
    case (.dictionary, .text(let name)):
      // Unlike a field after a dot, an item of that name goes before a method.
      return try value.field(name.string) ?? attribute(name.string, of: value, line)
    case (_, .text(let name)): return try attribute(name.string, of: value, line)
    default: return .undefined("item")
    }
  }

  func slice(
    _ value: TemplateValue, _ from: TemplateValue?, _ to: TemplateValue?, _ by: TemplateValue?
  ) throws -> TemplateValue {
    func whole(_ value: TemplateValue?) throws -> Int? {
      guard let value else { return nil }
      if case .none = value { return nil }
      guard let number = value.integer else { throw fail("a slice needs whole numbers") }
      return number
    }
    let step = try whole(by) ?? 1
    guard step != 0 else { throw fail("a slice's step cannot be 0") }
    let low = try whole(from)
    let high = try whole(to)
    func indices(_ count: Int) throws -> [Int] {
      try spend(count * 8)
      // Python's rule: bounds counted from the end where negative, then clipped.
      let least = step > 0 ? 0 : -1
      let most = step > 0 ? count : count - 1
      func clip(_ bound: Int) -> Int {
        let at = bound < 0 ? max(bound, -count - 1) + count : bound
        return min(max(at, least), most)
      }
      let start = low.map(clip) ?? (step > 0 ? least : most)
      let end = high.map(clip) ?? (step > 0 ? most : least)
      return Array(stride(from: start, to: end, by: max(min(step, count + 1), -count - 1)))
    }
    switch value {
    case .list(let values): return .list(try indices(values.count).map { values[$0] })
    case .text(let text):
      let scalars = text.scalars
      return .text(TemplateText(try indices(scalars.count).map { scalars[$0] }))
    case .undefined(let what): throw fail("\(what) is not defined, so it cannot be sliced")
    default: throw fail("\(value.typeName) cannot be sliced")
    }
  }

  func negated(_ value: TemplateValue) throws -> TemplateValue {
    if let number = value.integer, number != .min { return .int(-number) }
    guard let number = value.number else { throw fail("\(value.typeName) cannot be negated") }
    return .double(-number)
  }

  func arithmetic(
    _ symbol: String, _ a: TemplateValue, _ b: TemplateValue
  ) throws -> TemplateValue {
    if symbol == "~" { return .text(try checked(a.asText + b.asText)) }
    switch (symbol, a, b) {
    case ("+", .text(let left), .text(let right)): return .text(try checked(left + right))
    case ("+", .list(let left), .list(let right)): return try checked(left + right)
    case ("*", .text(let text), .int(let count)), ("*", .int(let count), .text(let text)):
      let times = max(0, count)
      guard times == 0 || text.size <= Self.mostBytes / times else {
        throw fail("a text grows beyond 64 MB")
      }
      try spend(text.size * times + times * 64)
      return .text((0..<times).reduce(into: TemplateText()) { result, _ in result.append(text) })
    default: break
    }
    if symbol != "/", symbol != "**", let left = a.integer, let right = b.integer {
      let (value, overflow) = try integers(symbol, left, right)
      guard !overflow else { throw fail("a number is too large") }
      return .int(value)
    }
    guard let left = a.number, let right = b.number else {
      throw fail("\(symbol) between \(a.typeName) and \(b.typeName)")
    }
    if right == 0, symbol == "/" || symbol == "//" || symbol == "%" { throw fail("division by 0") }
    switch symbol {
    case "+": return .double(left + right)
    case "-": return .double(left - right)
    case "*": return .double(left * right)
    case "/": return .double(left / right)
    case "//": return .double((left / right).rounded(.down))
    case "%": return .double(left - right * (left / right).rounded(.down))
    default:
      let power = pow(left, right)
      if a.integer != nil, let exponent = b.integer, exponent >= 0, abs(power) < 0x1p53 {
        return .int(Int(power))
      }
      return .double(power)
    }
  }

  private func integers(
    _ symbol: String, _ left: Int, _ right: Int
  ) throws -> (partialValue: Int, overflow: Bool) {
    switch symbol {
    case "+": return left.addingReportingOverflow(right)
    case "-": return left.subtractingReportingOverflow(right)
    case "*": return left.multipliedReportingOverflow(by: right)
    default:
      guard right != 0 else { throw fail("division by 0") }
      guard !(left == .min && right == -1) else { return (0, true) }
      // Python rounds down and gives the remainder the divisor's sign.
      let rest = left % right
      let isOff = rest != 0 && (rest < 0) != (right < 0)
      if symbol == "%" { return (isOff ? rest + right : rest, false) }
      return (left / right - (isOff ? 1 : 0), false)
    }
  }

  func holds(_ symbol: String, _ a: TemplateValue, _ b: TemplateValue) throws -> Bool {
    switch symbol {
    case "==": return a.equals(b)
    case "!=": return !a.equals(b)
    case "in": return try contains(b, a)
    case "not in": return try !contains(b, a)
    case "<", ">=":
      guard let before = a.precedes(b) else { break }
      return (symbol == "<") == before
    default:
      guard let before = b.precedes(a) else { break }
      return (symbol == ">") == before
    }
    throw fail("\(a.typeName) and \(b.typeName) cannot be compared by \(symbol)")
  }

  func contains(_ whole: TemplateValue, _ part: TemplateValue) throws -> Bool {
    switch (whole, part) {
    case (.text(let text), .text(let needle)):
      try spend(text.size)
      return needle.isEmpty
        || !TemplateText.matches(of: needle.utf8, in: text.utf8, limit: 1).isEmpty
    case (.list(let values), _):
      try spend(values.count * 64)
      return values.contains { $0.equals(part) }
    case (.dictionary, .text(let key)): return whole.field(key.string) != nil
    case (.dictionary, _), (.undefined, _): return false
    default: throw fail("in between \(part.typeName) and \(whole.typeName)")
    }
  }

  /// The functions that a chat template may call.
  func call(_ name: String, _ arguments: Arguments) throws -> TemplateValue {
    switch name {
    case "raise_exception":
      let message = arguments[0, "message"]?.asText.string ?? ""
      throw fail("the template refuses the conversation: \(message)")
    case "namespace":
      var fields: [(key: TemplateText, value: TemplateValue)] = []
      if case .dictionary(let given)? = arguments.positional.first { fields = given }
      for (key, value) in arguments.named { fields.append((TemplateText(key), value)) }
      namespaces.append(fields)
      if namespaces.count > 100_000 { throw fail("too many namespaces") }
      return .namespace(namespaces.count - 1)
    case "dict":
      var fields: [(key: TemplateText, value: TemplateValue)] = []
      switch arguments.positional.first {
      case nil: break
      case .dictionary(let given)?: fields = given
      case .list(let pairs)?:
        for pair in pairs {
          guard case .list(let both) = pair, both.count == 2 else {
            throw fail("dict needs a mapping or pairs")
          }
          fields.removeAll { $0.key.equals(both[0].asText) }
          fields.append((both[0].asText, both[1]))
        }
      case let other?: throw fail("dict of \(other.typeName)")
      }
      for (name, value) in arguments.named {
        let key = TemplateText(name)
        if let at = fields.firstIndex(where: { $0.key.equals(key) }) {
          fields[at].value = value
        } else {
          fields.append((key, value))
        }
      }
      return .dictionary(fields)
    case "range":
      let bounds = try arguments.positional.map { value -> Int in
        guard let number = value.integer else { throw fail("range needs whole numbers") }
        return number
      }
      guard (1...3).contains(bounds.count) else { throw fail("range takes one to three numbers") }
      let from = bounds.count == 1 ? 0 : bounds[0]
      let to = bounds.count == 1 ? bounds[0] : bounds[1]
      let step = bounds.count == 3 ? bounds[2] : 1
      guard step != 0 else { throw fail("range's step cannot be 0") }
      var values: [TemplateValue] = []
      for value in stride(from: from, to: to, by: step) {
        guard values.count < 100_000 else { throw fail("range of over 100,000 numbers") }
        values.append(.int(value))
      }
      return try checked(values)
    case "strftime_now":
      guard case .text(let format)? = arguments[0, "format"] else {
        throw fail("strftime_now needs a format")
      }
      return .string(try date(format.string))
    default: throw fail("the function \(name) is not interpreted")
    }
  }

  /// ``now`` as C's `strftime` writes it, in English and UTC.
  private func date(_ format: String) throws -> String {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = .gmt
    let parts = calendar.dateComponents(
      [.year, .month, .day, .hour, .minute, .second, .weekday, .dayOfYear], from: now)
    let months = [
      "January", "February", "March", "April", "May", "June", "July", "August", "September",
      "October", "November", "December",
    ]
    let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    let month = months[(parts.month ?? 1) - 1]
    let day = days[(parts.weekday ?? 1) - 1]
    func padded(_ value: Int?, _ width: Int = 2) -> String {
      let text = String(value ?? 0)
      return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    let hour = parts.hour ?? 0
    var result = ""
    var rest = format.makeIterator()
    while let character = rest.next() {
      guard character == "%" else {
        result.append(character)
        continue
      }
      var directive = rest.next()
      let isPlain = directive == "-"
      if isPlain { directive = rest.next() }
      let text: String
      switch directive {
      case "Y": text = padded(parts.year, 4)
      case "y": text = padded((parts.year ?? 0) % 100)
      case "m": text = padded(parts.month)
      case "d": text = padded(parts.day)
      case "B": text = month
      case "b", "h": text = String(month.prefix(3))
      case "A": text = day
      case "a": text = String(day.prefix(3))
      case "H": text = padded(hour)
      case "I": text = padded(hour % 12 == 0 ? 12 : hour % 12)
      case "M": text = padded(parts.minute)
      case "S": text = padded(parts.second)
      case "p": text = hour < 12 ? "AM" : "PM"
      case "j": text = padded(parts.dayOfYear, 3)
      case "F": text = "\(padded(parts.year, 4))-\(padded(parts.month))-\(padded(parts.day))"
      case "%": text = "%"
      default: throw fail("strftime_now: %\(directive.map(String.init) ?? "") is not interpreted")
      }
      result += isPlain && text.count > 1 ? String(text.drop { $0 == "0" }) : text
    }
    return result
  }
}

// SPDX-License-Identifier: Apache-2.0

import CPCRE2

/// A compiled pattern, over UTF-8: of a pre-tokeniser, or a person's own.
final class Pattern: Sendable {
  // PCRE2 documents compiled code as read-only while matching, from any number of threads.
  nonisolated(unsafe) private let code: OpaquePointer

  /// Compiles a pattern in the language of `tokenizer.json` (``PatternTranslation``).
  convenience init(_ source: String) throws {
    try self.init(
      compiling: PatternTranslation.translate(source), source: source, options: PCRE2_MULTILINE)
  }

  /// Compiles a text to be found as it is.
  convenience init(literal: String) throws {
    try self.init(compiling: literal, source: literal, options: PCRE2_LITERAL)
  }

  /// Compiles a character class given by its members.
  convenience init(members: String) throws {
    try self.init(compiling: "[\(members)]", source: members, options: 0)
  }

  /// Compiles a pattern in PCRE2's own language.
  ///
  /// - Throws: ``DataError`` with PCRE2's words and the place in the pattern.
  convenience init(expression: String) throws {
    do {
      try self.init(pcre: expression, options: 0)
    } catch let fault {
      let before = String(decoding: expression.utf8.prefix(fault.offset), as: UTF8.self)
      throw DataError(
        .badPattern,
        "“\(expression)” is not a regular expression: \(fault.reason), after “\(before)”")
    }
  }

  private convenience init(compiling pattern: String, source: String, options: UInt32) throws {
    do {
      try self.init(pcre: pattern, options: options)
    } catch let fault {
      throw DataError(
        .badTokenizer,
        "the pre-tokenizer's pattern “\(source)” is not a regular expression (byte "
          + "\(fault.offset))")
    }
  }

  /// Why a pattern does not compile.
  private struct Fault: Error {
    /// PCRE2's words.
    var reason: String
    /// How many bytes of the pattern were understood.
    var offset: Int
  }

  private init(pcre pattern: String, options: UInt32) throws(Fault) {
    var pattern = pattern
    var error: Int32 = 0
    var offset = 0
    // Unicode classes are refused together with literals; a literal has none.
    let unicode = options & PCRE2_LITERAL != 0 ? PCRE2_UTF : PCRE2_UTF | PCRE2_UCP
    let compiled = pattern.withUTF8 {
      pcre2_compile_8($0.baseAddress, $0.count, options | unicode, &error, &offset, nil)
    }
    guard let compiled else {
      var words = [UInt8](repeating: 0, count: 256)
      let length = pcre2_get_error_message_8(error, &words, words.count)
      throw Fault(
        reason: String(decoding: words.prefix(Int(max(0, length))), as: UTF8.self), offset: offset)
    }
    code = compiled
    // Without a just-in-time compiler the same code is interpreted.
    _ = pcre2_jit_compile_8(compiled, PCRE2_JIT_COMPLETE)
  }

  deinit { pcre2_code_free_8(code) }

  /// Finds the matches in a text, from left to right, without overlap.
  ///
  /// Empty matches count, but none directly after another match. If a pattern needs more steps or
  /// memory than PCRE2's limits (ten million steps, 64 MiB), the rest of that text has no match: a
  /// pattern from a file must not stop a program.
  ///
  /// - Parameters:
  ///   - text: Well-formed UTF-8.
  ///   - ranges: The parts of the text; each is searched as if it were alone.
  ///   - body: Called with the index of the part and the match's range in the text.
  func matches(
    in text: UnsafeBufferPointer<UInt8>, ranges: [Range<Int>], body: (Int, Range<Int>) -> Void
  ) {
    guard let base = text.baseAddress, let data = pcre2_match_data_create_8(1, nil),
      let context = pcre2_match_context_create_8(nil)
    else { return }
    defer {
      pcre2_match_data_free_8(data)
      pcre2_match_context_free_8(context)
    }
    Self.setLimits(context)
    guard let offsets = pcre2_get_ovector_pointer_8(data) else { return }
    for (index, range) in ranges.enumerated() {
      var start = 0
      var lastEnd = -1
      while start <= range.count {
        let subject = base + range.lowerBound
        let found = match(subject, range.count, start, data, context)
        guard found >= 0 else { break }
        let match = offsets[0]..<max(offsets[0], offsets[1])
        if !(match.isEmpty && match.lowerBound == lastEnd) {
          body(index, range.lowerBound + match.lowerBound..<range.lowerBound + match.upperBound)
        }
        lastEnd = match.upperBound
        start = match.upperBound
        if match.isEmpty {
          start += 1
          while start < range.count, subject[start] & 0xC0 == 0x80 { start += 1 }
        }
      }
    }
  }

  /// Whether the pattern matches anywhere in a text; nil where it needs more steps or memory than
  /// PCRE2's limits to say so.
  func isFound(in text: String) -> Bool? {
    guard let data = pcre2_match_data_create_8(1, nil),
      let context = pcre2_match_context_create_8(nil)
    else { return nil }
    defer {
      pcre2_match_data_free_8(data)
      pcre2_match_context_free_8(context)
    }
    Self.setLimits(context)
    var text = text
    let found = text.withUTF8 { bytes in
      // An empty text has no address.
      withUnsafePointer(to: UInt8(0)) {
        match(bytes.baseAddress ?? $0, bytes.count, 0, data, context)
      }
    }
    return found >= 0 ? true : found == PCRE2_ERROR_NOMATCH ? false : nil
  }

  private static func setLimits(_ context: OpaquePointer) {
    pcre2_set_match_limit_8(context, 10_000_000)
    pcre2_set_heap_limit_8(context, 64 * 1024)
  }

  /// PCRE2's answer, by the interpreter where the compiled code runs out of stack.
  private func match(
    _ subject: UnsafePointer<UInt8>, _ count: Int, _ start: Int, _ data: OpaquePointer,
    _ context: OpaquePointer
  ) -> Int32 {
    let found = pcre2_match_8(code, subject, count, start, PCRE2_NO_UTF_CHECK, data, context)
    guard found == PCRE2_ERROR_JIT_STACKLIMIT else { return found }
    return pcre2_match_8(
      code, subject, count, start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context)
  }
}

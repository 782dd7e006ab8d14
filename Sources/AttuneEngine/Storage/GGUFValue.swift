// SPDX-License-Identifier: Apache-2.0

/// A value of a GGUF file's metadata. The format's eight sizes of whole numbers are two cases here.
public enum GGUFValue: Sendable, Equatable {
  /// A whole number that is not negative.
  case unsigned(UInt64)
  /// A whole number.
  case signed(Int64)
  /// A float32 or float64.
  case float(Double)
  /// True or false.
  case bool(Bool)
  /// Text; bytes that are no UTF-8 are replaced.
  case string(String)
  /// Several values of one type.
  case array([GGUFValue])

  /// The whole number; nil if it is something else or does not fit.
  public var int: Int? {
    switch self {
    case .unsigned(let value): Int(exactly: value)
    case .signed(let value): Int(exactly: value)
    default: nil
    }
  }

  /// The number; nil if it is something else.
  public var double: Double? {
    switch self {
    case .float(let value): value
    case .unsigned(let value): Double(value)
    case .signed(let value): Double(value)
    default: nil
    }
  }

  /// True or false; nil if it is something else.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// The text; nil if it is something else.
  public var string: String? { if case .string(let value) = self { value } else { nil } }

  /// The texts of an array; nil if it is something else.
  public var strings: [String]? {
    guard case .array(let values) = self else { return nil }
    let strings = values.compactMap(\.string)
    return strings.count == values.count ? strings : nil
  }

  /// The whole numbers of an array; nil if it is something else.
  public var ints: [Int]? {
    guard case .array(let values) = self else { return nil }
    let ints = values.compactMap(\.int)
    return ints.count == values.count ? ints : nil
  }

  /// The numbers of an array; nil if it is something else.
  public var doubles: [Double]? {
    guard case .array(let values) = self else { return nil }
    let doubles = values.compactMap(\.double)
    return doubles.count == values.count ? doubles : nil
  }
}

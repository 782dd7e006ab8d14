// SPDX-License-Identifier: Apache-2.0

/// A knob that takes the loss's own default where it is null.
@propertyWrapper
public struct OwnDefault: Codable, Sendable, Equatable {
  /// The value, or nil for the loss's own.
  public var wrappedValue: Double?

  /// Wraps a value.
  public init(wrappedValue: Double?) { self.wrappedValue = wrappedValue }

  /// Reads a number or null.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Double.self)
  }

  /// Writes null where there is no value, so that the knob is there to be set.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

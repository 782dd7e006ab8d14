// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

/// A group of knobs in settings: a struct of its own in Swift, whose knobs a recipe has among those of
/// the settings that hold it.
@propertyWrapper
public struct Flattened<Group: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
  /// The group.
  public var wrappedValue: Group

  /// Wraps a group.
  public init(wrappedValue: Group) { self.wrappedValue = wrappedValue }

  /// What tells a group from settings with a name of their own, until `ConfigFile` makes them flat.
  private enum CodingKeys: String, CodingKey {
    case wrappedValue = "*"
  }
}

extension JSONTree {
  /// The members if this is what a group is encoded as.
  private var group: JSONTree? {
    guard case .object(let members) = self, members.count == 1 else { return nil }
    return members["*"]
  }

  /// The value with the knobs of groups among those around them.
  var flattened: JSONTree {
    guard case .object(let members) = self else { return self }
    var flat: [String: JSONTree] = [:]
    for (key, member) in members {
      var knobs = [key: member.flattened]
      if case .object(let group)? = member.group?.flattened { knobs = group }
      flat.merge(knobs) { _, _ in preconditionFailure("two knobs of a name: \(knobs.keys)") }
    }
    return .object(flat)
  }

  /// The value with its knobs in groups again.
  ///
  /// - Parameter shape: Settings of the same type as they are encoded.
  func grouped(as shape: JSONTree) -> JSONTree {
    guard case .object(let places) = shape, case .object(let knobs) = self else { return self }
    var members: [String: JSONTree] = [:]
    for (key, place) in places {
      if let group = place.group {
        members[key] = .object(["*": grouped(as: group)])
      } else {
        members[key] = knobs[key]?.grouped(as: place)
      }
    }
    return .object(members)
  }
}

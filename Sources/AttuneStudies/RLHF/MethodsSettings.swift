// SPDX-License-Identifier: Apache-2.0

public import AttuneTraining

extension RLHF {
  /// How a policy is trained: by any trainer of its own name.
  public enum Method: String, CaseIterable, CodingKey, Codable, Sendable {
    case ppo, reinforce, rloo, grpo, raft, dpg, brain, distill, iterate, dpo, kto

    /// Its name; that of a coding key would be longer.
    public var description: String { rawValue }
  }
}

/// The knobs of every method that a policy can be trained by, under its name.
///
/// This file is the one place that lists the methods: what else is known of one is said where its
/// settings are a `PolicyMethod`.
public struct MethodsSettings: Codable, Sendable, Equatable {
  /// The knobs of method ppo.
  public var ppo: PPOSettings
  /// Those of reinforce.
  public var reinforce: ReinforceSettings
  /// Those of rloo.
  public var rloo: RLOOSettings
  /// Those of grpo.
  public var grpo: GRPOSettings
  /// Those of raft.
  public var raft: RAFTSettings
  /// Those of dpg.
  public var dpg: DPGSettings
  /// Those of brain.
  public var brain: BRAInSettings
  /// Those of distill.
  public var distill: DistillSettings
  /// Those of iterate.
  public var iterate: IterateSettings
  /// Those of dpo.
  public var dpo: DPOSettings
  /// Those of kto.
  public var kto: KTOSettings

  /// The methods: a property that is none of them does not compile, for it has no key, and no value
  /// without one.
  private typealias CodingKeys = RLHF.Method

  /// Where a method's knobs are.
  private static func place(of method: RLHF.Method) -> Place {
    switch method {
    case .ppo: Place(\.ppo)
    case .reinforce: Place(\.reinforce)
    case .rloo: Place(\.rloo)
    case .grpo: Place(\.grpo)
    case .raft: Place(\.raft)
    case .dpg: Place(\.dpg)
    case .brain: Place(\.brain)
    case .distill: Place(\.distill)
    case .iterate: Place(\.iterate)
    case .dpo: Place(\.dpo)
    case .kto: Place(\.kto)
    }
  }

  /// A property of these settings, whichever type it has.
  private struct Place {
    let read: (MethodsSettings) -> any PolicyMethod
    let write: (inout MethodsSettings, any PolicyMethod) -> Void

    init<Knobs: PolicyMethod>(_ path: WritableKeyPath<MethodsSettings, Knobs>) {
      read = { $0[keyPath: path] }
      write = { settings, knobs in
        guard let knobs = knobs as? Knobs else { preconditionFailure("of another method") }
        settings[keyPath: path] = knobs
      }
    }
  }

  /// The knobs of a method.
  package subscript(method: RLHF.Method) -> any PolicyMethod {
    get { Self.place(of: method).read(self) }
    set { Self.place(of: method).write(&self, newValue) }
  }

  /// Every knob.
  static let knobs = RLHF.Method.allCases.map { method in
    Knob(
      method.rawValue,
      (method == RLHF.Method.allCases[0] ? "The knobs of method " : "Those of ") + method.rawValue
        + ".", .knobs(method.type.knobs))
  }
}

extension MethodsSettings {
  /// The defaults.
  public init() {
    self.init(
      ppo: .init(), reinforce: .init(), rloo: .init(), grpo: .init(), raft: .init(), dpg: .init(),
      brain: .init(), distill: .init(), iterate: .init(), dpo: .init(), kto: .init())
  }
}

extension RLHF.Method {
  /// The type of its knobs.
  fileprivate var type: any PolicyMethod.Type { Swift.type(of: MethodsSettings()[self]) }

  /// One line for help and documentation.
  public var summary: String { type.summary }
  /// Its variants by name.
  public var variants: [String] { type.variantNames }
  /// The knob that a variant sets, by its path.
  var variantKnob: String? { type.variantKnob.map { "\(rawValue).\($0)" } }
  /// Whether the trainer samples answers.
  public var samples: Bool { type.knobs.knob(at: "sampler") != nil }
  /// Whether it learns from the collected preferences themselves, and the reward model is there to
  /// measure alone.
  var readsPreferences: Bool { type.readsPreferences }
}

/// Settings that hold those of every method: `settings.ppo` is `settings.methodKnobs.ppo`.
@dynamicMemberLookup
public protocol HoldsMethods: Settings {
  /// Those of every method.
  var methodKnobs: MethodsSettings { get set }
}

extension HoldsMethods {
  /// The knobs of a method.
  public subscript<Value>(dynamicMember method: WritableKeyPath<MethodsSettings, Value>) -> Value {
    get { methodKnobs[keyPath: method] }
    set { methodKnobs[keyPath: method] = newValue }
  }
}

// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneServer
  import AttuneStudies
  import AttuneTraining
  import Foundation

  /// The models that are served, by their names: the first one, which policies may be trained from, and adapters.
  ///
  /// `M@K` is policy K of a model that is aligned, 0 its start; `M` the one that answers by now.
  struct ServedPolicies {
    /// Models by name, the first one first.
    let models: [(name: String, loaded: LoadedModel)]
    /// The policies of the first.
    let series: PolicySeries?
    private let began = Int(Date().timeIntervalSince1970)
    /// Requests that compared, so that a share of them is of two policies.
    private let comparisons = Counter()

    private final class Counter {
      var value = 0
    }

    init(_ models: [(name: String, loaded: LoadedModel)], series: PolicySeries?) {
      self.models = models
      self.series = series
    }

    private var first: String { models[0].name }

    /// The full name of the model that answers under a name.
    func resolve(_ name: String) -> String {
      guard let series, name == first else { return name }
      return "\(first)@\(series.current)"
    }

    /// Whose drafts a request for a model is given that compares: of a share those of the policy that
    /// answers and the one before it, in random order.
    func compared(_ name: String) -> [String]? {
      guard let series, name == first, let previous = series.previous else { return nil }
      let (number, share) = (Double(comparisons.value), series.settings.versus)
      comparisons.value += 1
      guard ((number + 1) * share).rounded(.up) > (number * share).rounded(.up) else { return nil }
      return ["\(first)@\(series.current)", "\(first)@\(previous)"].shuffled()
    }

    /// The model of a full name; nil if there is none.
    func open(_ name: String) throws -> LoadedModel? {
      if let own = models.first(where: { $0.name == name }), series == nil || name != first {
        return own.loaded
      }
      guard let series, name.hasPrefix(first + "@"),
        let number = Int(name.dropFirst(first.count + 1)),
        (0...series.policies.count).contains(number)
      else { return nil }
      return try series.model(number)
    }

    /// The names that requests may give.
    ///
    /// - Parameter context: Most tokens of a prompt and its answer.
    func list(context: Int?) -> [ServedModel] {
      func entry(_ name: String, _ fingerprint: String) -> ServedModel {
        ServedModel(name: name, fingerprint: fingerprint, created: began, context: context)
      }
      var list = models.map { entry($0.name, $0.loaded.fingerprint) }
      guard let series else { return list }
      if let current = series.policies.first(where: { $0.number == series.current }) {
        list[0].fingerprint = current.fingerprint
      }
      list.append(entry("\(first)@0", series.start.fingerprint))
      list += series.policies.map { entry("\(first)@\($0.number)", $0.fingerprint) }
      return list
    }
  }
#endif

// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import AttuneStore
import Foundation
import Synchronization

/// A name that requests may give, and what answers under it.
public struct ServedModel: Sendable, Equatable {
  /// The name.
  public var name: String
  /// What tells its weights from others.
  public var fingerprint: String
  /// When it came to be served, in seconds since 1970.
  public var created: Int
  /// Most tokens of a prompt and its answer; nil where that is not known before it answers.
  public var context: Int?

  /// Makes a name.
  public init(name: String, fingerprint: String, created: Int, context: Int? = nil) {
    self.name = name
    self.fingerprint = fingerprint
    self.created = created
    self.context = context
  }
}

/// Models served to their users: the requests that wait, and the store that keeps what users say.
///
/// Safe to use from any thread. Models are worked on elsewhere, by whoever takes requests off the queue.
public final class ModelService: Sendable {
  /// The knobs.
  public let settings: ServeSettings
  /// The requests that wait.
  public let queue: GenerationQueue
  /// Where feedback goes; nil where none is kept.
  public let store: FeedbackStore?
  private let lock: Mutex<FileLock?>
  let names: NameBook
  private let served = Mutex<[ServedModel]>([])
  private let policies = Mutex<PolicyProgress?>(nil)

  /// Makes a service without models.
  ///
  /// - Parameters:
  ///   - settings: The knobs.
  ///   - store: Where feedback goes; nil keeps none.
  /// - Throws: ``ServerError`` if a knob is out of its range, `StoreError` if another process asks people out
  ///   of this store, or if it can't be read.
  public init(_ settings: ServeSettings, store: FeedbackStore?) throws {
    try settings.validate()
    try OpenFiles.require(connections: settings.connections)
    self.settings = settings
    self.store = store
    lock = Mutex(try store?.lock())
    names = NameBook(AnnotatorNames(try store?.annotators() ?? []))
    queue = GenerationQueue(most: settings.queue)
  }

  /// Says which models there are.
  public func setModels(_ models: [ServedModel]) { served.withLock { $0 = models } }

  /// Which models there are.
  var models: [ServedModel] { served.withLock { $0 } }

  /// Says which policies there are that were trained from what users said.
  public func setPolicies(_ progress: PolicyProgress) { policies.withLock { $0 = progress } }

  /// The policies and what users said of them; nil where none are trained.
  ///
  /// - Throws: `StoreError` if the store can't be read.
  public func alignment() throws -> PolicyProgress? {
    guard let store, let progress = policies.withLock({ $0 }) else { return nil }
    return try progress.counted(by: store)
  }

  /// Lets others ask people out of the store. Only for a service that answers nobody any more.
  func release() { lock.withLock { $0 = nil } }
}

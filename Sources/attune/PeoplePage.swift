// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneStudies
import AttuneTraining

#if Server
  import AttuneServer
  import AttuneStore
  import Foundation

  /// People who are asked on the page, for a run that waits for their labels.
  struct PeoplePage: Sendable {
    let address: PageServer.Address
    /// What people are to go by: a Markdown file.
    var guidelines: URL?

    /// Serves the page until there are enough labels, and writes them.
    ///
    /// - Returns: What came of it, in words.
    /// - Throws: `interrupted` after Ctrl-C; what was said is in the store and is not asked again.
    func ask(_ task: PeopleTask) throws -> String {
      var settings = CollectSettings()
      settings.votes = task.votes
      settings.seed = task.seed
      let collector = try Collector(
        settings, store: try FeedbackStore(task.store), guidelines: guidelines)
      var quotas = try task.parts.map {
        try LabelQuota($0.labels, of: $0.samples, by: collector)
      }
      // Those that are answered already are among the first, for the order is the seed's.
      for i in quotas.indices { _ = try quotas[i].ask(quotas[i].wanted) }
      collector.setGrowing(true)
      let wanted = quotas.reduce(0) { $0 + $1.wanted }
      func missing() throws -> [Int] { try quotas.map { try $0.missing() } }
      if try missing().contains(where: { $0 > 0 }) {
        try PageServer.serve(collector, at: address) { server in
          Output.note("Waiting for \(wanted) comparisons with a winner. The page:")
          server.showLinks()
          while true {
            // First who waits, then what is missing: the last label is seen before another question is asked.
            let waits = collector.takeWaiting()
            let left = try missing()
            guard left.contains(where: { $0 > 0 }) else { break }
            guard !Interrupt.isRequested else {
              throw TrainingError(
                .interrupted,
                "stopped with \(wanted - left.reduce(0, +)) of \(wanted) labels; the same command goes "
                  + "on from there")
            }
            if waits {
              var asked = 0
              for i in quotas.indices { asked += try quotas[i].ask(min(left[i], 8)) }
              let report = collector.report()
              if asked == 0, report.finished == report.questions {
                throw TrainingError(
                  .badData,
                  "all \(report.questions) questions are answered, and \(left.reduce(0, +)) of "
                    + "\(wanted) comparisons still want a winner: sample more answers (sample.n, "
                    + "evaluation.n) or ask for fewer labels (people.labels)")
              }
            }
            Thread.sleep(forTimeInterval: 0.1)
          }
          // Pages look again every two seconds: they are to find that all is done.
          collector.close()
          Thread.sleep(forTimeInterval: 2.5)
        }
      }
      for (quota, part) in zip(quotas, task.parts) {
        try AtomicFile.write(try quota.preferences(), to: part.preferences)
      }
      let report = collector.report()
      return "\(report.labels) comparisons by \(report.annotators) "
        + (report.annotators == 1 ? "person" : "people")
    }
  }

  extension PageServer {
    /// Prints where people go, a line each.
    func showLinks() {
      for link in links { Output.note(link.name.map { "\($0): \(link.url)" } ?? link.url) }
    }
  }
#else
  extension TrainingError {
    /// What a build without the trait `Server` says where the page is needed.
    static var noPage: TrainingError {
      TrainingError(
        .badSetting,
        "this attune was built without its page, as make quickstart does; make build in Attune's folder "
          + "brings it (and make install, where it is installed)")
    }
  }
#endif

// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneTraining
import Foundation

/// How hard instructions are, from a table as alpaca_eval's `instruction_difficulty.csv`: a prompt's place,
/// from 0, and its difficulty.
package enum InstructionDifficulties {
  private static let column = "instruction_difficulty"

  /// Reads the difficulties of some prompts.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - count: How many prompts there are.
  /// - Returns: One a prompt, and how many more the file has.
  /// - Throws: An error that names file, line and field, or the prompt that it says nothing of.
  package static func read(_ path: String, prompts count: Int) throws -> (
    values: [Double], others: Int
  ) {
    let data: Data
    do {
      data = try Data(contentsOf: URL(filePath: path))
    } catch {
      throw TrainingError(.file, "\(path): can't be read: \(reason(error))")
    }
    let records = try DelimitedText.records(Array(data), source: path)
    guard let header = records.first, header.fields.count == 2,
      ["", "index"].contains(header.fields[0]), header.fields[1] == column
    else {
      throw DataPlace(file: path, line: 1).error(
        "the first line must be index,\(column): a prompt's place, from 0, and its difficulty")
    }
    var found: [Int: Double] = [:]
    for record in records.dropFirst() {
      let place = DataPlace(file: path, line: record.line)
      guard record.fields.count == 2, let index = Int(record.fields[0]), index >= 0 else {
        throw place.error("index must be a whole number from 0, with one field behind it")
      }
      guard let value = Double(record.fields[1]), value.isFinite else {
        throw place.error("\(column) must be a number, not \(record.fields[1])")
      }
      guard found.updateValue(value, forKey: index) == nil else {
        throw place.error("index \(index) is there twice")
      }
    }
    let values = try (0..<count).map { prompt in
      guard let value = found[prompt] else {
        throw TrainingError(
          .badData, "\(path): has no difficulty of prompt \(prompt), counted from 0, of \(count)")
      }
      return value
    }
    return (values, found.count - count)
  }
}

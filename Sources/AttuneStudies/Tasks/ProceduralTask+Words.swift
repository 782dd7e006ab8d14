// SPDX-License-Identifier: Apache-2.0

import AttuneData

extension ProceduralTask {
  private static let short = words(
    """
    cat dog sun sea hat map pen cup owl ice oak tree moon book door fish bird rain snow lamp
    ship star rose leaf wind road hill lake sand salt milk rice corn bean egg nut pear plum fig
    bee ant cow pig hen fox bear wolf deer frog seal swan goose mouse horse sheep tiger zebra
    chair table plate spoon knife clock piano drum bell flute
    """)
  private static let long = words(
    """
    strawberry banana elephant butterfly mountain balloon umbrella calendar necklace broccoli
    chocolate dinosaur envelope feather giraffe hammock internet jellyfish kangaroo lemonade
    mushroom notebook octopus penguin question raccoon sandwich telescope universe violin
    waterfall xylophone yesterday address bookkeeper committee difference eleven football
    grasshopper hippopotamus infinity jewellery kettle lullaby mississippi newspaper parallel
    quarrel restaurant successful tomorrow vacuum wheelbarrow pineapple cucumber avocado
    """)
  private static let names = words("Ann Ben Carla David Emma Felix Gina Hugo Ida Jonas Kira Leo")
  private static let cities = words("Berlin Cairo Dublin Lima Madrid Oslo Paris Rome Tokyo Vienna")
  private static let jobs = words("baker doctor driver gardener nurse painter pilot teacher")

  private static func words(_ text: String) -> [String] {
    text.split(whereSeparator: \.isWhitespace).map(String.init)
  }

  static func letters(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let text = draw.some(max(1, difficulty - 1), of: difficulty == 1 ? short : long)
      .joined(separator: " ")
    let all = text.filter { $0 != " " }
    // From 3 on one that it has more than once, where there is such; before it may have none.
    let several = Set(all).filter { letter in all.count { $0 == letter } > 1 }.sorted()
    let alphabet = Array("abcdefghijklmnopqrstuvwxyz")
    let letter =
      difficulty > 2 && !several.isEmpty
      ? draw.one(several) : draw.number(0...3) == 0 ? draw.one(alphabet) : draw.one(Array(all))
    return Problem(
      "How many times does the letter \"\(letter)\" occur in \"\(text)\"?",
      "\(text.count { $0 == letter })")
  }

  static func reversing(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let text: String
    switch difficulty {
    case 1: text = String(draw.some(3, of: Array("abcdefghijklmnopqrstuvwxyz")))
    case 2, 3: text = syllables(difficulty, &draw)
    case 4: text = draw.some(2, of: short).joined(separator: " ")
    default: text = draw.some(2, of: long).joined(separator: " ")
    }
    return Problem("Write \"\(text)\" backwards.", String(text.reversed()))
  }

  /// A word that there is not: two or three syllables.
  private static func syllables(_ count: Int, _ draw: inout TaskDraw) -> String {
    String(
      (0..<count).flatMap { _ in
        [draw.one(Array("bdfgklmnprstvz")), draw.one(Array("aeiou"))]
      })
  }

  static func brackets(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let closing: [Character: Character] = ["(": ")", "[": "]", "{": "}", "<": ">"]
    var (text, open) = ("", [Character]())
    for _ in 0..<3 + 2 * difficulty {
      if difficulty > 2, let last = open.last, draw.number(0...2) == 0 {
        text.append(closing[last] ?? last)
        open.removeLast()
      }
      let bracket = draw.one(["(", "[", "{", "<"] as [Character])
      text.append(bracket)
      open.append(bracket)
    }
    return Problem(
      "Close the brackets that are open, the last one first: \(text) Answer with the closing brackets "
        + "alone.", String(open.reversed().map { closing[$0] ?? $0 }))
  }

  static func picking(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let items = draw.some(2 * difficulty + 1, of: difficulty < 4 ? short : short + long)
    let ordinals = words(
      "first second third fourth fifth sixth seventh eighth ninth tenth eleventh")
    let (place, name): (Int, String)
    if difficulty == 1 || draw.number(0...4) == 0 {
      (place, name) = draw.number(0...1) == 0 ? (0, "first") : (items.count - 1, "last")
    } else {
      place = draw.number(0...items.count - 1)
      name = ordinals[place]
    }
    return Problem(
      "Which word comes \(name) in this list: \(items.joined(separator: ", "))?", items[place])
  }

  static func object(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let name = draw.one(names)
    let age = draw.number(18...80)
    var fields: [JSONValue.Field] = [.init("name", .string(name)), .init("age", .int(age))]
    var text = "\(name) is \(age) years old"
    if difficulty > 1 {
      let city = draw.one(cities)
      fields.append(.init("city", .string(city)))
      text += ", lives in \(city)"
    }
    if difficulty > 2 {
      let likes = draw.some(2, of: short)
      fields.append(.init("likes", .array(likes.map { .string($0) })))
      text += ", likes \(likes.joined(separator: " and "))"
    }
    if difficulty > 3 {
      let isMarried = draw.number(0...1) == 1
      fields.append(.init("married", .bool(isMarried)))
      text += ", is \(isMarried ? "" : "not ")married"
    }
    if difficulty > 4 {
      let (job, years) = (draw.one(jobs), draw.number(1...20))
      fields.append(
        .init("work", .object([.init("job", .string(job)), .init("years", .int(years))])))
      text += ", and has worked as a \(job) for \(years) years (keys job and years)"
    }
    let keys = fields.map { "\"\($0.key)\"" }.joined(separator: ", ")
    return Problem(
      "Write this as one JSON object with the keys \(keys): \(text).", JSONValue.object(fields).text
    )
  }
}

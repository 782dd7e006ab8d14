// SPDX-License-Identifier: Apache-2.0

/// A language that a text is written in, told by its script and its commonest words: the thirty that
/// IFEval asks for, by their ISO 639-1 codes.
///
/// Two of one script are told apart by letters that only one has and by short words that every text of
/// some length has. A text without letters, or in a language that is none of them, is taken for none.
enum WrittenLanguage: String, CaseIterable, Sendable {
  case en, es, pt, ar, hi, fr, ru, de, ja, it, bn, uk, th, ur, ta, te, bg, ko, pl, he, fa, vi, ne,
    sw,
    kn, mr, gu, pa, ml, fi

  /// The language of a text; nil where nothing tells it.
  static func of(_ text: String) -> WrittenLanguage? {
    var counts: [Script: Int] = [:]
    for scalar in text.unicodeScalars {
      if let script = Script.allCases.first(where: { $0.holds(scalar.value) }) {
        counts[script, default: 0] += 1
      }
    }
    // Japanese is written in Chinese characters too.
    if let kana = counts[.kana] { counts[.kana] = kana + counts[.han, default: 0] }
    guard
      let script = counts.max(by: { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) })?
        .key
    else { return nil }
    let candidates = script.languages
    if candidates.count == 1 { return candidates[0] }
    let words = text.lowercased().split { !$0.isLetter && $0 != "'" }
    var scores: [WrittenLanguage: Double] = [:]
    for word in words {
      let word = String(word)
      for language in candidates where commonest[language]?.contains(word) == true {
        scores[language, default: 0] += 1
      }
    }
    for scalar in text.lowercased().unicodeScalars where !scalar.isASCII {
      for language in candidates where letters[language]?.contains(scalar) == true {
        scores[language, default: 0] += 0.5
      }
    }
    return candidates.max { scores[$0, default: 0] < scores[$1, default: 0] }
      .flatMap { scores[$0] == nil ? nil : $0 }
  }

  private enum Script: Int, CaseIterable {
    case latin, cyrillic, arabic, devanagari, bengali, gurmukhi, gujarati, tamil, telugu, kannada,
      malayalam, thai, hebrew, hangul, kana, han

    func holds(_ code: UInt32) -> Bool {
      let ranges: [ClosedRange<UInt32>] =
        switch self {
        case .latin: [0x41...0x5A, 0x61...0x7A, 0xC0...0x24F, 0x1E00...0x1EFF]
        case .cyrillic: [0x400...0x52F]
        case .arabic: [0x600...0x6FF, 0x750...0x77F, 0xFB50...0xFDFF]
        case .devanagari: [0x900...0x97F]
        case .bengali: [0x980...0x9FF]
        case .gurmukhi: [0xA00...0xA7F]
        case .gujarati: [0xA80...0xAFF]
        case .tamil: [0xB80...0xBFF]
        case .telugu: [0xC00...0xC7F]
        case .kannada: [0xC80...0xCFF]
        case .malayalam: [0xD00...0xD7F]
        case .thai: [0xE00...0xE7F]
        case .hebrew: [0x590...0x5FF]
        case .hangul: [0x1100...0x11FF, 0xAC00...0xD7AF]
        case .kana: [0x3040...0x30FF]
        case .han: [0x4E00...0x9FFF]
        }
      return ranges.contains { $0.contains(code) }
    }

    var languages: [WrittenLanguage] {
      switch self {
      case .latin: [.en, .es, .pt, .fr, .de, .it, .pl, .vi, .sw, .fi]
      case .cyrillic: [.ru, .uk, .bg]
      case .arabic: [.ar, .fa, .ur]
      case .devanagari: [.hi, .mr, .ne]
      case .bengali: [.bn]
      case .gurmukhi: [.pa]
      case .gujarati: [.gu]
      case .tamil: [.ta]
      case .telugu: [.te]
      case .kannada: [.kn]
      case .malayalam: [.ml]
      case .thai: [.th]
      case .hebrew: [.he]
      case .hangul: [.ko]
      case .kana: [.ja]
      case .han: []
      }
    }
  }

  private static let commonest: [WrittenLanguage: Set<String>] = [
    .en: words(
      "the and of to in is that it you for are with this on as be was not have from your by"),
    .es: words(
      "el la los las de que y en un una es por con para del se lo como más pero su está al"),
    .pt: words("o os as de que e em um uma é por com para do da não se no na mais como ao seu são"),
    .fr: words(
      "le la les de et des en un une est que pour dans du il qui au ce pas sur avec plus je"),
    .de: words(
      "der die das und ist in ein eine zu den mit nicht auf für von sie ich es dem auch im"),
    .it: words(
      "il di che e la in un una è per con non del della i gli le si da sono più come al ho"),
    .pl: words("i w na z do się jest to nie że o jak dla po ale od co przez za są tym jego czy by"),
    .vi: words(
      "và của là có không cho một được trong các người với này những đã khi đó để tôi như"),
    .sw: words(
      "na ya wa kwa ni katika za la cha kuwa hii huo kama si au lakini watu yake sana wao"),
    .fi: words(
      "ja on ei se että hän oli mutta kun niin tai ovat joka myös kuin hänen sen minä voi"),
    .ru: words("и в не на что с как это по но из у за от то все он она так для о был мы вы же бы"),
    .uk: words("і в не на що з як це по але у за від то та він вона для до є бути ми ви про чи й"),
    .bg: words("и в не на че с как това по но от за да е са се той тя до ще като при има или съм"),
    .ar: words("في من على إلى أن هذا هذه التي الذي كان لا ما مع عن هو هي كل أو قد"),
    .fa: words("در به از که این را با است برای آن یک خود تا بر هم نیز می شود بود"),
    .ur: words("کے میں کی ہے اور سے کا کو پر نے ہیں یہ کہ ایک بھی تھا اس نہیں کر"),
    .hi: words("के है में की और से का को पर ने हैं यह कि एक भी था इस नहीं कर लिए"),
    .mr: words("आहे आणि च्या मध्ये हे ते तो ती या व नाही होते आहेत केले एक असे साठी मी"),
    .ne: words("छ र को मा लाई यो हो छन् गर्न एक पनि भने तर हुन् गरेको थियो छैन म"),
  ]

  private static let letters: [WrittenLanguage: Set<Unicode.Scalar>] = [
    .es: Set("ñ¿¡".unicodeScalars), .pt: Set("ãõ".unicodeScalars),
    .fr: Set("œêèçùû".unicodeScalars),
    .de: Set("ßäöü".unicodeScalars), .it: Set("ìò".unicodeScalars),
    .pl: Set("ąęłńśźżć".unicodeScalars),
    .vi: Set("đơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ".unicodeScalars),
    .fi: Set("äö".unicodeScalars), .ru: Set("ыэё".unicodeScalars), .uk: Set("іїєґ".unicodeScalars),
    .bg: Set("ъ".unicodeScalars), .ar: Set("ةىإأؤئ".unicodeScalars),
    .fa: Set("پچژگی".unicodeScalars),
    .ur: Set("ٹڈڑےںہھ".unicodeScalars), .mr: Set("ळ".unicodeScalars),
  ]

  private static func words(_ text: String) -> Set<String> {
    Set(text.split(separator: " ").map(String.init))
  }
}

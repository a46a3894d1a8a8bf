package shape

// Kind is the type of a schema in the words of the service models.
type Kind uint8

// Kinds and the Go types that generated code uses for them. As a structure member, every scalar is a pointer (nil
// means absent) except enums, whose empty string means absent; list elements and map values are never pointers.
const (
	Structure Kind = iota + 1 // struct; *struct as a member
	List                      // []T
	Map                       // map[string]T
	String                    // string, or a named string type if Enum is set
	Integer                   // int32
	Long                      // int64
	Boolean                   // bool
	Timestamp                 // time.Time
	Blob                      // []byte
	Double                    // float64
	Float                     // float32
)

// Schema describes one shape of a service model.
type Schema struct {
	Name      string
	Kind      Kind
	Members   []Member // of a structure, in the order of the struct's fields
	Element   Member   // of a list, and the value of a map
	Key       Member   // of a map
	Flattened bool     // query and XML: list elements and map entries have no wrapper
	Sensitive bool     // the value never appears in a message or a log
	Enum      []string // allowed values of a string
	Min, Max  *int64   // length of a string (characters), list or map (entries), blob (bytes); value of a number
	Pattern   *Pattern

	byName map[string]int
}

// Member is a reference to a schema from a structure, list or map.
type Member struct {
	Name     string // the model's name; in lists and maps empty
	Wire     string // the name on the wire where it differs from Name
	Query    string // ec2Query: the name in requests where it does not follow from the one on the wire
	Ref      int    // the target's index in the model
	Required bool

	Schema *Schema // the target; set by NewModel
}

// WireName is the member's name on the wire, or fallback if the model names none.
func (m *Member) WireName(fallback string) string {
	if m.Wire != "" {
		return m.Wire
	}
	if m.Name != "" {
		return m.Name
	}
	return fallback
}

// MemberIndex finds a structure's member by its name on the wire; -1 if there is none. Case counts.
func (s *Schema) MemberIndex(wire []byte) int {
	if i, ok := s.byName[string(wire)]; ok {
		return i
	}
	return -1
}

// Model is the set of schemas of one service.
type Model struct{ schemas []Schema }

// NewModel resolves the references between schemas and takes ownership of the slice.
// It panics if a reference leaves the slice, which only a generator bug can cause.
func NewModel(schemas []Schema) *Model {
	for i := range schemas {
		s := &schemas[i]
		switch s.Kind {
		case Structure:
			s.byName = make(map[string]int, len(s.Members))
			for j := range s.Members {
				m := &s.Members[j]
				m.Schema = &schemas[m.Ref]
				s.byName[m.WireName("")] = j
			}
		case List:
			s.Element.Schema = &schemas[s.Element.Ref]
		case Map:
			s.Element.Schema = &schemas[s.Element.Ref]
			s.Key.Schema = &schemas[s.Key.Ref]
		}
	}
	return &Model{schemas: schemas}
}

// At returns the schema with that index.
func (m *Model) At(i int) *Schema { return &m.schemas[i] }

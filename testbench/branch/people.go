package branch

import (
	"fmt"
	"strings"
)

var firstNames = []string{
	"Alice", "Bob", "Carol", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jules",
	"Karim", "Lucie", "Marc", "Nadia", "Oscar", "Paula", "Quentin", "Rosa", "Samir", "Tess",
	"Ulysse", "Vera", "William", "Xenia", "Yann", "Zoe", "Amina", "Bruno", "Chloe", "Diego",
	"Elsa", "Felix", "Gaelle", "Henri", "Irene", "Jonas", "Lena", "Milo", "Nora", "Otto",
}

var lastNames = []string{
	"Martin", "Bernard", "Dubois", "Thomas", "Robert", "Richard", "Petit", "Durand", "Leroy", "Moreau",
	"Simon", "Laurent", "Lefevre", "Michel", "Garcia", "Roux", "Fournier", "Girard", "Bonnet", "Dupont",
	"Lambert", "Fontaine", "Rousseau", "Vincent", "Muller", "Faure", "Mercier", "Blanc", "Guerin", "Boyer",
	"Garnier", "Chevalier", "Legrand", "Gauthier", "Perrin", "Robin", "Masson", "Nguyen", "Henry", "Roussel",
}

var rooms = []string{"Lobby", "Meeting room", "Kitchen", "Workshop", "Warehouse"}

// In a branch of some size the phone at the front desk, which is nobody's, has
// the number of the boss: who calls it rings at both.
const (
	sharedFrom = 12 // phones
	boss       = 3  // index
	frontDesk  = 9
)

// handle is the name by which a person calls a phone: its user's, or its room's.
func handle(p Phone) string {
	if p.User != "" {
		return p.User
	}
	return strings.ReplaceAll(strings.ToLower(p.DisplayName), " ", "-")
}

// ownerOf invents who sits at the phone with an index. Each tenth phone stands
// in a room and belongs to nobody.
func ownerOf(i int) (user, name string) {
	n := len(firstNames)
	if i%10 == 9 {
		return "", fmt.Sprintf("%s %d", rooms[i/10%len(rooms)], i/10+1)
	}
	first, last := firstNames[i%n], lastNames[(i+i/n)%len(lastNames)]
	user = strings.ToLower(first)
	if round := i / n; round > 0 {
		user += "." + strings.ToLower(last)
		if again := round / len(lastNames); again > 0 {
			user += fmt.Sprint(again + 1)
		}
	}
	return user, first + " " + last
}

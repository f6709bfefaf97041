// Asks the Go of the guide `verify-in-your-service`, which the test puts into the folder keyrack, and into away one that asks
// a server that never gives a verdict. Environment: KEYRACK_TEST_KEY, KEYRACK_ROOT_KEY.
package main

import (
	"context"
	"fmt"
	"os"

	away "example.com/service/away"
	"example.com/service/keyrack"
)

func told(verdict keyrack.Verdict, err error) {
	switch {
	case err != nil:
		fmt.Println("unknown")
	case !verdict.Valid:
		fmt.Println("refused", verdict.Code)
	case verdict.Identity != nil:
		fmt.Println("allowed", verdict.Identity.ExternalID)
	default:
		fmt.Println("allowed")
	}
}

func main() {
	ctx, key := context.Background(), os.Getenv("KEYRACK_TEST_KEY")
	told(keyrack.Verify(ctx, key, ""))
	told(keyrack.Verify(ctx, key, "documents.read"))
	told(keyrack.Verify(ctx, "pay_nobody", ""))
	verdict, err := away.Verify(ctx, key, "")
	told(keyrack.Verdict(verdict), err)
}

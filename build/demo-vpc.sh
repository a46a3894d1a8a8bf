#!/bin/sh
# A service reaches a private host through its VPC connector; the host of this machine, a service without the connector and
# one with another group do not. Leaves nothing behind; KEEP=1 keeps the server running and says how to go on.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	exec sudo -E KEEP="${KEEP:-}" PATH="$PATH" "$0" "$@" # the server makes namespaces
fi
. build/demo-server.sh

private=192.168.3.194

step "Building an image with Debian's ping: CMD ping -c 3 $private, then serve"
build/debrootfs.sh .cache/rootfs/ping iputils-ping busybox-static
go run ./build/mkimage -o "$work/ping.tar" -rootfs .cache/rootfs/ping -port 8080 \
	sh -c "/bin/ping -c 3 -W 1 $private; exec httpd -f -p 8080 -h /tmp"
go run ./build/mkimage -o "$work/host.tar" -rootfs .cache/rootfs/ping httpd -f -p 8080 -h /tmp

start_server
# run prints a command of the aws program and runs it; q prints it and puts one value of its answer out.
run() { echo "$ aws $*"; aws "$@"; }
q() { query=$1; shift; echo "$ aws $*" >&2; aws "$@" --query "$query" --output text; }

step "Pushing the images into the install's registry"
account=$(aws sts get-caller-identity --query Account --output text)
registry=${AWS_ENDPOINT_URL#*://}
aws ecr get-login-password | skopeo login --tls-verify=false --authfile "$work/auth.json" -u AWS --password-stdin "$registry" >/dev/null
for name in ping host; do
	aws ecr create-repository --repository-name $name >/dev/null
	skopeo copy -q --authfile "$work/auth.json" --dest-tls-verify=false "docker-archive:$work/$name.tar" "docker://$registry/$name:v1"
done
uri=$account.dkr.ecr.$AWS_REGION.amazonaws.com

step "A VPC with two subnets"
vpc=$(q Vpc.VpcId ec2 create-vpc --cidr-block 192.168.0.0/16)
subnet1=$(q Subnet.SubnetId ec2 create-subnet --vpc-id "$vpc" --cidr-block 192.168.1.0/24)
subnet3=$(q Subnet.SubnetId ec2 create-subnet --vpc-id "$vpc" --cidr-block 192.168.3.0/24)

step "Security groups: ICMP into 'private' from members of 'connector' only"
connector=$(q GroupId ec2 create-security-group --group-name connector --description apps --vpc-id "$vpc")
other=$(q GroupId ec2 create-security-group --group-name other --description others --vpc-id "$vpc")
group=$(q GroupId ec2 create-security-group --group-name private --description hosts --vpc-id "$vpc")
run ec2 authorize-security-group-ingress --group-id "$group" --ip-permissions "IpProtocol=icmp,FromPort=-1,ToPort=-1,UserIdGroupPairs=[{GroupId=$connector}]" >/dev/null

step "A private host at $private, and another VPC with the same addresses beside it"
host=$(q 'Instances[0].InstanceId' ec2 run-instances --image-id "$uri/host:v1" --subnet-id "$subnet3" --private-ip-address $private --security-group-ids "$group")
vpc2=$(q Vpc.VpcId ec2 create-vpc --cidr-block 192.168.0.0/16)
twin=$(q Subnet.SubnetId ec2 create-subnet --vpc-id "$vpc2" --cidr-block 192.168.3.0/24)
host2=$(q 'Instances[0].InstanceId' ec2 run-instances --image-id "$uri/host:v1" --subnet-id "$twin" --private-ip-address $private)
run ec2 wait instance-running --instance-ids "$host" "$host2"

step "A connector, and services: with it, with one of another group, without any"
arn=$(q VpcConnector.VpcConnectorArn apprunner create-vpc-connector --vpc-connector-name apps --subnets "$subnet1" --security-groups "$connector")
arn2=$(q VpcConnector.VpcConnectorArn apprunner create-vpc-connector --vpc-connector-name others --subnets "$subnet1" --security-groups "$other")
source="ImageRepository={ImageIdentifier=$uri/ping:v1,ImageRepositoryType=ECR,ImageConfiguration={Port=8080}}"
run apprunner create-service --service-name shop --source-configuration "$source" --network-configuration "EgressConfiguration={EgressType=VPC,VpcConnectorArn=$arn}" >/dev/null
run apprunner create-service --service-name other --source-configuration "$source" --network-configuration "EgressConfiguration={EgressType=VPC,VpcConnectorArn=$arn2}" >/dev/null
run apprunner create-service --service-name plain --source-configuration "$source" >/dev/null
for name in shop other plain; do
	tries=0
	until [ "$(aws apprunner list-services --query "ServiceSummaryList[?ServiceName=='$name'].Status" --output text)" = RUNNING ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 120 ] || { echo "demo: $name is not running" >&2; "$funade" logs "$name" --events >&2; exit 1; }
		sleep 0.5
	done
done

# expect NAME TEXT: the application log of a service says so.
expect() {
	step "funade logs $1"
	tries=0
	until text=$("$funade" logs "$1") && printf '%s\n' "$text" | grep -q "packet loss"; do
		tries=$((tries + 1))
		[ "$tries" -lt 40 ] || break
		sleep 0.5
	done
	printf '%s\n' "$text"
	printf '%s\n' "$text" | grep -q "$2" || { echo "demo: expected $2" >&2; exit 1; }
}
expect shop '3 received, 0% packet loss'
expect other '100% packet loss'
expect plain '100% packet loss'

step "This machine itself: none of its routes leads into the VPC (/proc/net/route)"
if awk '$1 ~ /^fn/ && $2 ~ /A8C0$/' /proc/net/route | grep .; then
	echo "demo: this machine has a route to the private host" >&2
	exit 1
fi
awk 'NR > 1 && $1 ~ /^fn/ { print "only the install'"'"'s link to the outside: " $1 }' /proc/net/route

step "funade explain --from service/shop --to $private --protocol icmp"
"$funade" explain --from service/shop --to $private --protocol icmp
step "funade explain --from service/shop --to 10.9.8.7:443"
"$funade" explain --from service/shop --to 10.9.8.7:443 || [ $? = 1 ]
step "funade explain --from service/other --to $private --protocol icmp"
"$funade" explain --from service/other --to $private --protocol icmp || [ $? = 1 ]

keep_or_remove <<END
  funade logs shop
  aws ec2 describe-instances
END
